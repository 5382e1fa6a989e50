"""What the documentation shows runs, and what it lists is there."""

import importlib.util
import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pygame
import pytest
from PIL import Image

from ctxmem_env import retrieval, tasks
from ctxmem_env.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "agents" / "README.md", *sorted((ROOT / "ctxmem_env").rglob("README.md"))]
BLOCKS = {
    str(path.relative_to(ROOT)): re.findall(r"```(\w*)\n(.*?)```", path.read_text(), flags=re.DOTALL)
    for path in DOCUMENTS
}
COMMANDS = [
    command.strip()
    for blocks in BLOCKS.values()
    for language, block in blocks
    if language == "bash"
    for line in block.splitlines()
    for command in line.split("&&")
]
LONG = ("ctxmem train", "ctxmem bench", "ctxmem selftest")
# Benchmarks of the same kind, cut down to seconds.
CUT = {
    "step": "--histories 10 20 --contexts 2 --repeats 1 --steps 1",
    "retrieval": "--histories 10 20 --repeats 1 --queries 1 --checked 1",
    "vector": "--num-envs 1 2 --repeats 1 --steps 1",
    "memory": "--capacity 16 --steps 101 --scenes 1 --tour-frames 2 --revisits 1 --soak-steps 500",
    "train": "--repeats 1 --steps 1",
}
CUT_TRANSFER = ("--scenes", "2", "--steps", "3", "--quiet")
CUT_AGENTS = {
    "agents/ppo.py": ("--steps", "16", "--num-envs", "4", "--quiet"),
    "agents/evaluate.py": ("--scenes", "2", "--max-episode-steps", "3", "--quiet"),
}


@pytest.fixture
def place(tmp_path, monkeypatch, capsys):
    """A folder with the files that the README speaks of, to work in."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    picture = np.random.default_rng(0).integers(256, size=(360, 640, 4), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "frame_0000.png")
    Image.fromarray(picture[..., :3]).save(tmp_path / "photo.jpg")
    frame = '"{}": {{"position": [{}, 0, 0], "rotation": [0, 0, 0]}}'
    frames = ", ".join(frame.format(i, 6 * i) for i in range(40))
    (tmp_path / "camera.json").write_text(f'{{"CineCameraActor": {{{frames}}}}}')
    monkeypatch.chdir(tmp_path)
    assert main(["collect", "--scene", "1", "--steps", "6", "--out", "flat"]) == 0
    capsys.readouterr()
    return tmp_path


def test_the_first_screen_has_the_two_commands():
    screen = "\n".join(README.splitlines()[:40])
    assert "pip install -e . && ctxmem rollout --out walk.mp4" in screen
    assert 'pip install -e ".[dev]" && pytest' in screen


def test_the_readme_has_blocks_to_run():
    assert sum(language == "python" for language, _ in BLOCKS["README.md"]) >= 9


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("document", [name for name, blocks in BLOCKS.items() if ("python" in dict(blocks))])
def test_python_blocks_run(document, monkeypatch):
    """One after the other in one session, as a reader would paste them."""
    if any("runs/wan_tiny" in block for _, block in BLOCKS[document]):
        main(["train", "configs/wan_tiny.yaml", "--out", "runs/wan_tiny", "--quiet"])  # a command of another block
    monkeypatch.setattr(retrieval, "RETRIEVAL", retrieval.RETRIEVAL.copy())
    monkeypatch.setattr(tasks, "TASKS", tasks.TASKS.copy())
    session = {"__name__": "readme"}
    for language, block in BLOCKS[document]:
        if language == "python":
            exec(compile(block, document, "exec"), session)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=pytest.mark.slow if command.startswith(LONG) else ())
        for command in COMMANDS
        if command.startswith("ctxmem") and command != "ctxmem serve"  # in test_serve_command.py
    ],
)
def test_commands_run(command):
    words = shlex.split(command)[1:]
    if words[0] == "collect" and words[-1] == "flat":
        shutil.rmtree("flat")  # the fixture's
    if words[0] == "bench":
        words += shlex.split(CUT[words[1]])
    if words[0] == "selftest":
        words = [word for word in words if word != "--full"] + ["--quiet"]
        if "--parsers" not in words:
            words += ["--parts", "repeats"]
    if "transfer" in words:
        words += CUT_TRANSFER
    if words[0] == "play":  # somebody closes the window
        pygame.display.init()
        pygame.event.post(pygame.event.Event(pygame.QUIT))
    if "--replay" in words:
        episode = words[words.index("--replay") + 1]
        assert main(["rollout", "--env", "true", "--steps", "2", "--save-episode", episode]) == 0
    assert main(words) == 0


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("python ")])
def test_scripts_run(command, monkeypatch, capsys):
    _, script, *words = shlex.split(command)
    monkeypatch.syspath_prepend(str((ROOT / script).parent))
    monkeypatch.setattr(sys, "argv", [script, *words, *CUT_AGENTS[script]])
    runpy.run_path(str(ROOT / script), run_name="__main__")
    assert json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("torchrun")])
def test_launched_commands_run(command, place):
    launcher = [sys.executable, "-m", "torch.distributed.run", *shlex.split(command)[1:]]
    done = subprocess.run(launcher, cwd=place, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1  # the results of all ranks together


def test_no_command_is_of_a_kind_that_no_test_runs():
    others = [command for command in COMMANDS if not command.startswith(("ctxmem ", "pip ", "python ", "torchrun "))]
    assert others == ["pytest"]


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    "arguments",
    [
        ("examples/quickstart.py", "--steps", "5"),
        ("examples/look_away_and_back.py", "--turns", "2"),
        ("examples/train_ppo.py", "--steps", "16", "--num-envs", "2"),
        ("examples/vectorised.py", "--num-envs", "2", "--steps", "3"),
        ("examples/own_photograph.py", "photo.jpg"),
        ("examples/own_capture.py",),
        ("examples/two_cameras.py",),
        ("examples/plan_with_clone_state.py", "--steps", "3", "--ways", "2", "--length", "2"),
        *[
            (agent, "--steps", "16", "--num-envs", "4", "--quiet")
            for agent in ("agents/ppo.py", "agents/dqn.py", "agents/sac.py", "agents/recurrent_ppo.py")
        ],
        *[
            (agent, *own, "--scenes", "2", "--max-episode-steps", "4", "--quiet")
            for agent, *own in (
                ("agents/random_actions.py", "--actions", "continuous"),
                ("agents/scripted.py", "--avoid"),
                ("agents/frontier.py", "--video", "frontier.gif"),
                ("agents/evaluate.py", "turn_and_go"),
            )
        ],
    ],
    ids=lambda arguments: arguments[0],
)
def test_examples_run(arguments, untrained_model, monkeypatch, capsys):
    script = str(ROOT / arguments[0])
    monkeypatch.syspath_prepend(str(Path(script).parent))  # as Python does for a script
    monkeypatch.setattr(sys, "argv", [script, *arguments[1:], "--model", str(untrained_model)])
    runpy.run_path(script, run_name="__main__")
    assert capsys.readouterr().out


def test_the_example_of_a_generator_runs(monkeypatch, capsys):
    script = str(ROOT / "examples/own_generator.py")
    monkeypatch.setattr(sys, "argv", [script, "--steps", "2"])
    runpy.run_path(script, run_name="__main__")
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_examples_are_short():
    assert all(len(path.read_text().splitlines()) < 60 for path in (ROOT / "examples").glob("*.py"))


def test_every_example_and_agent_is_run():
    source = "".join(Path(__file__).with_name(name).read_text() for name in ("test_readme.py", "test_rllib.py"))
    scripts = [path for folder in ("agents", "examples") for path in (ROOT / folder).glob("*.py")]
    scripts.remove(ROOT / "agents" / "training.py")  # what the others share
    assert all(f'"{path.relative_to(ROOT)}"' in source for path in scripts)


def test_tables_are_those_of_the_code():
    spec = importlib.util.spec_from_file_location("readme_tables", ROOT / ".ci" / "readme_tables.py")
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    for path in DOCUMENTS:
        text = path.read_text()
        assert tables.updated(text) == text, f"{path.name} is stale: run python .ci/readme_tables.py"


def test_the_file_trees_list_what_is_there():
    folders, modules = (
        next(block for language, block in BLOCKS[name] if language == "" and block.startswith(start))
        for name, start in (("README.md", "ctxmem_env/"), ("ctxmem_env/README.md", "__init__.py"))
    )
    there = [path for path in (ROOT / "ctxmem_env").iterdir() if path.name not in ("__pycache__", "README.md")]
    assert set(re.findall(r"^  (\S+)/ ", folders, flags=re.MULTILINE)) == {one.name for one in there if one.is_dir()}
    assert set(re.findall(r"^(\S+) ", modules, flags=re.MULTILINE)) == {one.name for one in there if one.is_file()}
    tracked = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert set(re.findall(r"^(\S+)/", folders, flags=re.MULTILINE)) <= tracked


def test_links_lead_to_files():
    for document in DOCUMENTS:
        text = document.read_text()
        for target in re.findall(r"\]\((?!http)([^)#]+)", text):
            assert (document.parent / target).exists(), f"{document}: {target}"
        for target in re.findall(r"`((?:agents|examples|configs|ctxmem_env)/[^`\s]+?)`", text):
            assert (ROOT / target).exists(), f"{document}: {target}"


def test_links_to_headings_lead_to_headings():
    links = [
        (document, (document.parent / target).resolve() if target else document, anchor)
        for document in DOCUMENTS
        for target, anchor in re.findall(r"\]\((?!http)([^)#]*)#([^)]+)\)", document.read_text())
    ]
    assert len(links) >= 9
    for document, target, anchor in links:
        headings = re.findall(r"^#+ (.*)$", target.read_text(), flags=re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in anchors, f"{document}: {anchor}"
