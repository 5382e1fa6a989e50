"""What all commands have in common: help that reads well, --quiet, --json and --debug."""

import itertools
import json
import platform
import re
from importlib.metadata import version

import pytest

from ctxmem_env.cli import NAMES, main

COMMANDS = [*sorted(set(NAMES) - {"bench"}), *(f"bench {name}" for name in NAMES["bench"])]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_tells_every_option_without_the_breaks_of_the_source(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    told = capsys.readouterr().out
    assert "(default: None)" not in told and "(default: False)" not in told
    assert all(re.search(rf"{option} +[A-Z]\w+ .*\.", told) for option in ("--debug", "--quiet", "--json"))
    # A line of text without an option, in the same line or the one above, would be the rest of another.
    lines = [line.strip("│|+ ") for line in told.splitlines() if line.startswith(("│", "|", "  "))]
    for above, line in itertools.pairwise(["", *filter(None, lines)]):
        assert line.startswith(("-", "CONFIG ")) or not re.search(r"[a-z\d'][.)]$", above), line


def test_the_version_is_told_with_what_it_stands_on(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    told = [f"{name} {version(name)}" for name in ("ctxmem-env", "torch", "gymnasium")]
    assert capsys.readouterr() == (", ".join([*told, f"Python {platform.python_version()}"]) + "\n", "")


def test_help_tells_defaults_that_say_something(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit):
        main(["rollout", "--help"])
    text = capsys.readouterr().out
    assert "(default: 12)" in text and "(default: fov)" in text and "(default: rollout.mp4)" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_of_every_command_an_option_that_is_unknown_is_one_line_and_in_json_too(command, capsys):
    words = [*command.split(), *(["a.yaml"] if command == "train" else [])]
    assert main([*words, "--quiet", "--json", "--nonsense", "1"]) == 2
    out, err = capsys.readouterr()
    text = json.loads(out)["error"]
    assert "--nonsense is unknown" in text and f"see `ctxmem {command} --help`" in text
    assert err == f"ctxmem: error: {text}\n"


def test_errors_are_on_standard_output_only_where_json_is_asked_for(capsys, fail):
    fail("rollout", "--steps", "0")
    assert main(["rollout", "--steps", "0", "--json", "--debug"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out) == {"error": "steps=0 is out of range; expected an integer of at least 1."}
    assert "Traceback" in err


@pytest.mark.parametrize("words", ["rollout", "rollout --actions random", "compare", "play", "collect --out new"])
def test_a_seed_below_zero_is_refused_in_one_line_of_json(words, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main([*words.split(), "--seed", "-1", "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out) == {"error": "seed=-1 is out of range; expected an integer of at least 0."}
    assert "Traceback" not in err and list(tmp_path.iterdir()) == []


def test_an_interrupted_command_says_so(capsys, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("ctxmem_env.cli.rollout.rollout", interrupt)
    assert main(["rollout", "--json"]) == 130
    out, err = capsys.readouterr()
    assert json.loads(out) == {"error": "interrupted"} and err == "ctxmem: interrupted\n"


def test_quiet_leaves_nothing_on_standard_error_and_without_it_the_figures_are_told(run, untrained_model, tmp_path):
    words = ["evaluate", "--protocol", "transfer", "--policies", "random", "--scenes", 2, "--steps", 2]
    words += ["--model", untrained_model, "--out"]
    _, err = run(*words, tmp_path / "loud.json")
    assert "ctxmem: random in CtxMemTrueScene-v0" in err and "| random |" in err
    _, err = run(*words, tmp_path / "quiet.json", "--quiet")
    assert err == ""
