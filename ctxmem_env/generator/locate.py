"""Where a generator lies: packaged, in a folder, or on the hub. Loads no network and no library for one.

`ctxmem_env.generator.wan` has its own folders, for names that begin with "wan:".
"""

import hashlib
import json
import re
from pathlib import Path

from ctxmem_env.errors import check_integer, unknown_name
from ctxmem_env.generator.protocol import Traits
from ctxmem_env.generator.wan.folders import PREFIX, find_wan

PACKAGED = Path(__file__).parent.parent / "weights"
CONFIG = Path("transformer") / "config.json"
_LARGEST = 8192  # pixels of a side


def packaged_names() -> list[str]:
    """Names of the generators that come with the package."""
    return sorted(path.parent.name for path in PACKAGED.glob("*/model_index.json"))


def find_generator(model: str) -> Path:
    """The folder of the generator called `model`: a packaged name, a folder, or a hub id such as "owner/name"."""
    if model.startswith(PREFIX):
        found = find_wan(model)
        return (found.adapter or found.base).folder
    if (PACKAGED / model / "model_index.json").is_file():
        return PACKAGED / model
    if Path(model).is_dir():
        return Path(model)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", model):
        error = unknown_name("model", model, packaged_names())
        raise ValueError(f"{error} A folder that save_pretrained wrote, or a hub id, works too.")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, allow_patterns=["*.json", "*.safetensors"]))
    except Exception as error:
        raise ValueError(
            f"model={model!r} is not a folder, and as a hub id it could not be fetched ({type(error).__name__}); "
            f"check the spelling and the connection, or use a packaged generator: {', '.join(packaged_names())}"
        ) from error


def read_traits(model: str) -> Traits:
    """What the generator called `model` is like, without a look at its weights."""
    if model.startswith(PREFIX):
        return find_wan(model).traits
    path = find_generator(model) / CONFIG
    try:
        config = json.loads(path.read_text())
        return Traits(*(check_integer(name, config[name], 1, _LARGEST) for name in ("height", "width")))
    except FileNotFoundError:
        raise ValueError(f"model={model!r} has no {CONFIG}; expected a folder that save_pretrained wrote.") from None
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"model={model!r}: {path} has no height and width ({error!r}); fetch it again.") from error


def weights_checksum(model: object) -> str | None:
    """Of the weights of the generator called `model`, by which an earlier one of that name is told apart.

    None for what is no name, and for a folder without checksums.
    """
    if not isinstance(model, str):
        return None
    sums = [find_generator(model) / name for name in ("checksums.json", "adapter.json")]
    return next((hashlib.sha256(file.read_bytes()).hexdigest()[:12] for file in sums if file.is_file()), None)
