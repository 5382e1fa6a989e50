"""All styles by name, and which of them training never sees."""

import difflib

from ctxmem_env.scenes.held_out import HELD_OUT
from ctxmem_env.scenes.indoor import INDOOR
from ctxmem_env.scenes.outdoor import OUTDOOR
from ctxmem_env.scenes.style import Style

# A scene's seed is mixed with the position of its style here: append only.
_ORDER = (
    "apartment",
    "office",
    "library",
    "gallery",
    "kitchen",
    "bathhouse",
    "warehouse",
    "school",
    "castle",
    "cabin",
    "hotel",
    "greenhouse",
    "market",
    "garden",
    "courtyard",
    "dusk",
    "temple",
    "harbour",
    "station",
    "canyon",
    "playroom",
)
STYLES: dict[str, Style] = {name: {**INDOOR, **OUTDOOR, **HELD_OUT}[name] for name in _ORDER}
HELD_OUT_STYLES = tuple(HELD_OUT)
TRAINING_STYLES = tuple(name for name in STYLES if name not in HELD_OUT_STYLES)


def check_style(style: str) -> str:
    """`style` itself; ValueError with the nearest name if there is no such style."""
    if style in STYLES:
        return style
    nearest = difflib.get_close_matches(str(style), STYLES, n=1, cutoff=0.0)[0]
    raise ValueError(f"style is {style!r}, which does not exist; did you mean {nearest!r}? Styles: {', '.join(STYLES)}")
