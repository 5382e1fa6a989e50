"""Imports run one way, and nothing heavy is imported before it is needed."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "ctxmem_env"

# These may import anything, and nothing imports them.
COMMANDS = {"__init__", "__main__", "bench", "cli", "selftest"}

# What each part may import from the package, besides itself and `errors`.
ALLOWED = {
    "errors": set(),
    "device": set(),
    "camera": set(),
    "config": set(),
    "overlap": {"camera"},
    "actions": {"camera"},
    "spatial_index": set(),
    "slot_log": set(),
    "atomic": set(),
    "half_file": {"atomic"},
    "world_file": {"atomic", "device"},
    "greedy": {"overlap"},
    "eviction": {"device", "greedy", "overlap"},
    "memory_state": {"eviction", "slot_log", "spatial_index"},
    "memory": {"camera", "device", "eviction", "memory_state", "slot_log", "spatial_index"},
    "nearby": {"greedy", "overlap", "spatial_index"},
    "retrieval": {"camera", "device", "greedy", "nearby", "overlap", "spatial_index"},
    "generator": {"atomic", "camera", "device", "half_file"},
    "scenes": {"camera"},
    "tasks": {"camera", "dynamics", "overlap"},
    "place": {"scenes"},
    "recording": {"camera"},
    "trajectory": {"camera"},
    "feature_cache": set(),
    "dynamics": {"camera", "device", "memory"},
    "examples": {"device", "generator", "memory"},
    "world": {"camera", "dynamics", "examples", "feature_cache", "generator", "memory", "memory_state", "retrieval"},
    "picture": set(),
    "photograph": {"camera", "picture"},
    "captures": {"camera", "picture", "trajectory"},
    "start": {"camera", "captures", "photograph", "scenes"},
    "settings": {
        "actions",
        "camera",
        "device",
        "dynamics",
        "eviction",
        "generator",
        "retrieval",
        "scenes",
        "start",
        "tasks",
    },
    "opening": {"device", "generator", "place", "scenes", "settings", "start", "tasks", "world"},
    "sight": {"memory", "generator", "opening", "recording", "settings", "tasks", "track", "world"},
    "state": {"memory_state", "settings", "world"},
    "facts": {"world_file"},
    "track": set(),
    "saving": {
        "facts",
        "generator",
        "memory_state",
        "settings",
        "sight",
        "start",
        "state",
        "track",
        "world",
        "world_file",
    },
    "env": {
        "actions",
        "camera",
        "generator",
        "opening",
        "recording",
        "saving",
        "scenes",
        "settings",
        "sight",
        "state",
        "track",
        "world",
    },
    "batch": {"actions", "settings", "start"},
    "vector": {
        "batch",
        "env",
        "generator",
        "opening",
        "recording",
        "scenes",
        "settings",
        "sight",
        "start",
        "state",
        "track",
        "world",
    },
    "true_scene": {"dynamics", "env", "generator", "memory", "scenes", "settings", "vector"},
    "parallel": {
        "actions",
        "env",
        "generator",
        "opening",
        "recording",
        "scenes",
        "settings",
        "sight",
        "start",
        "track",
        "true_scene",
        "world",
    },
    "viewer": {
        "camera",
        "env",
        "generator",
        "recording",
        "retrieval",
        "scenes",
        "start",
        "tasks",
        "world_file",
    },
    "sb3": {"env"},
    "plotting": set(),
    "filming": {"evaluation", "recording", "scenes", "settings", "true_scene"},
    "episodes": {"atomic", "saving"},
    "play": {"env", "recording", "state"},
    "policies": {"actions", "atomic", "camera", "dynamics", "settings"},
    "testing": {"generator", "tasks"},
    "training": {
        "actions",
        "atomic",
        "camera",
        "captures",
        "config",
        "device",
        "evaluation",
        "generator",
        "half_file",
        "retrieval",
        "scenes",
        "world",
    },
    "evaluation": {
        "actions",
        "atomic",
        "camera",
        "captures",
        "device",
        "dynamics",
        "generator",
        "half_file",
        "memory",
        "overlap",
        "policies",
        "retrieval",
        "scenes",
        "world",
    },
}


def part_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path):
    """Modules that a file imports, wherever in the file it does so."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the whole name"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parts_imported(path):
    names = (name.split(".") for name in imports(path) if name.startswith("ctxmem_env."))
    return {name[1] for name in names if (ROOT / name[1]).is_dir() or (ROOT / f"{name[1]}.py").is_file()}


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_arrows(path):
    part = part_of(path)
    if part in COMMANDS:
        return
    assert part in ALLOWED, f"{part} is new: state here what it may import"
    extra = parts_imported(path) - ALLOWED[part] - {part, "errors"}
    assert not extra, f"{path.name} imports {sorted(extra)}"


def test_the_arrows_have_no_cycle():
    order = []
    while len(order) < len(ALLOWED):
        ready = [part for part in ALLOWED if part not in order and ALLOWED[part] <= set(order)]
        assert ready, f"a cycle among {sorted(set(ALLOWED) - set(order))}"
        order += ready


def test_nothing_imports_agents_examples_or_tests():
    for path in FILES:
        assert not {name.split(".")[0] for name in imports(path)} & {"agents", "examples", "tests"}, path


def test_pygame_is_imported_only_inside_functions():
    for path in FILES:
        top = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
        assert "pygame" not in ast.unparse(ast.Module(top, [])), path
