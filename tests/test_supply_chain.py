"""What the package never does: run code that a file holds."""

import ast
import itertools
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = [path for folder in ("ctxmem_env", "agents", "examples") for path in sorted((ROOT / folder).rglob("*.py"))]
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_METHODS = {
    ("torch", "load"), ("np", "load"), ("numpy", "load"), ("yaml", "load"), ("yaml", "unsafe_load"),
    ("yaml", "full_load"), ("os", "system"),
}  # fmt: skip


def offences(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in FORBIDDEN_MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FORBIDDEN_MODULES:
            found.append(node.module)
        elif isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name) and function.id in FORBIDDEN_CALLS:
                found.append(function.id)
            if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
                name = (function.value.id, function.attr)
                found += [".".join(name)] * (name in FORBIDDEN_METHODS)
            for keyword in node.keywords:
                truth = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
                if keyword.arg in ("trust_remote_code", "allow_pickle", "shell") and truth:
                    found.append(keyword.arg)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_run_as_code(path):
    assert offences(ast.parse(path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from dill import loads", "eval('1')", "torch.load(path)", "yaml.load(text)", "f(shell=True)",
     "AutoModel.from_pretrained(name, trust_remote_code=True)", "np.load(path, allow_pickle=True)"],
)  # fmt: skip
def test_the_check_finds_what_it_looks_for(source):
    assert offences(ast.parse(source))


def calls_of(owner, method):
    """Files in which `owner.method(...)` is called, and the keywords of the calls."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == f"{owner}.{method}":
                yield str(path.relative_to(ROOT)), {keyword.arg for keyword in node.keywords}


def test_pictures_of_few_formats_are_opened_in_few_places():
    """Pillow knows dozens of formats, one of which it hands to another program."""
    opened = {path: keywords for path, keywords in calls_of("Image", "open") if path.startswith("ctxmem_env")}
    assert set(opened) <= {"ctxmem_env/picture.py", "ctxmem_env/viewer/pictures.py"}
    assert opened["ctxmem_env/picture.py"] == {"formats"}


def test_yaml_is_read_in_one_place():
    assert [path for path, _ in calls_of("yaml", "safe_load")] == ["ctxmem_env/config.py"]


def test_the_lowest_versions_that_are_tested_are_those_that_are_allowed():
    allowed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = [*allowed["dependencies"], *itertools.chain(*allowed["optional-dependencies"].values())]
    lowest = dict(re.findall(r"^([\w-]+)>=([\d.]+)", "\n".join(requirements), flags=re.M))
    pinned = re.findall(r"^([\w-]+)==([\d.]+)$", (ROOT / ".ci" / "lowest.txt").read_text(), flags=re.M)
    assert len(pinned) >= 14
    for name, version in pinned:
        numbers = lowest[name].split(".")
        assert version.split(".")[: len(numbers)] == numbers, name
        assert set(version.split(".")[len(numbers) :]) <= {"0"}, name


def test_weights_are_safetensors():
    binary = {".bin", ".pt", ".pth", ".pkl", ".npy", ".npz", ".ckpt", ".zip"}
    assert not [path for path in (ROOT / "ctxmem_env").rglob("*") if path.suffix in binary]
