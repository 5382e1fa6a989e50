"""What the fuzzer tries: every parser of a file and every public argument, with inputs to begin with.

Each entry gets an empty folder and gives a `Target`, whose `run` does with an input what a user would do who had been
given it: writes the file, reads it, and goes on with what it holds. It raises what the parser raises, and
AssertionError where something passed that should not have.
"""

from collections.abc import Callable
from pathlib import Path

from ctxmem_env.selftest.calls import actions, arguments, reset_options
from ctxmem_env.selftest.camera_files import (
    camera_path,
    colmap_binary,
    colmap_text,
    context_as_memory,
    minecraft,
    real_estate,
    transforms_json,
)
from ctxmem_env.selftest.files import (
    actions_file,
    checkpoint,
    config_yaml,
    generator_folder,
    policy_file,
    world_file,
)
from ctxmem_env.selftest.pictures import picture
from ctxmem_env.selftest.recorded import episode_file, wan_folder
from ctxmem_env.selftest.target import Target
from ctxmem_env.selftest.web import web_message, web_photograph, web_world

_ALL = (
    (world_file, generator_folder, policy_file, checkpoint)
    + (transforms_json, context_as_memory, minecraft, real_estate, camera_path, colmap_binary, colmap_text)
    + (picture, config_yaml, actions_file, arguments, reset_options, actions)
    + (web_message, web_photograph, web_world, wan_folder, episode_file)
)
PARSERS: dict[str, Callable[[Path], Target]] = {parser.__name__: parser for parser in _ALL}
