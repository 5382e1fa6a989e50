"""How a Wan model is used as a generator."""

import dataclasses
from typing import Any

from ctxmem_env.errors import check_integer, unknown_name

SCHEDULERS = ("euler", "unipc")
SPATIAL, TEMPORAL = 8, 4  # pixels and frames of a latent


@dataclasses.dataclass(frozen=True)
class WanOptions:
    """Values of the paper, or of Wan 2.1 where it has none.

    height and width in pixels are multiples of 16; frames_per_step is 1 + 4 n, for the autoencoder takes the first
    frame alone and then four at a time; default_num_steps are those of denoising; guidance_scale is that of the text, 1
    for none; flow_shift moves the noise levels to where more is noise; scheduler is "euler" or "unipc".
    """

    height: int = 352
    width: int = 640
    frames_per_step: int = 77
    default_num_steps: int = 50
    guidance_scale: float = 5.0
    flow_shift: float = 3.0
    scheduler: str = "euler"

    def __post_init__(self) -> None:
        for name in ("height", "width", "frames_per_step", "default_num_steps"):
            check_integer(name, getattr(self, name), 1)
        for name in ("height", "width"):
            if getattr(self, name) % (2 * SPATIAL):
                raise ValueError(f"{name}={getattr(self, name)}; expected a multiple of {2 * SPATIAL} pixels.")
        if self.frames_per_step % TEMPORAL != 1:
            raise ValueError(f"frames_per_step={self.frames_per_step}; expected 1, 5, 9, ...: 1 + {TEMPORAL} n.")
        for name in ("guidance_scale", "flow_shift"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 100:
                raise ValueError(f"{name}={value!r}; expected a number from 1 to 100.")
        if self.scheduler not in SCHEDULERS:
            raise unknown_name("scheduler", self.scheduler, SCHEDULERS)

    @property
    def latents_per_step(self) -> int:
        """Latent frames of one step."""
        return 1 + (self.frames_per_step - 1) // TEMPORAL


def options_from(values: dict[str, Any], where: str) -> WanOptions:
    """The options of those names and values; ValueError, which begins with `where`, for others."""
    names = [field.name for field in dataclasses.fields(WanOptions)]
    for name in values:
        if name not in names:
            raise ValueError(f"{where}: {unknown_name('option', name, names)}")
    try:
        return WanOptions(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
