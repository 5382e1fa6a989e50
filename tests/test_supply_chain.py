"""What the package never does: run code that a file holds."""

import ast
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


def test_weights_are_safetensors():
    binary = {".bin", ".pt", ".pth", ".pkl", ".npy", ".npz", ".ckpt", ".zip"}
    assert not [path for path in (ROOT / "ctxmem_env").rglob("*") if path.suffix in binary]
