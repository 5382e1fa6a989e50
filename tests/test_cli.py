"""The command line: what it prints, writes and refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from PIL import Image

from ctxmem_env.actions import DiscreteActions
from ctxmem_env.camera import cropped_fov, move, wrap_angle
from ctxmem_env.cli.drive import WALK, choose_drive, follow, parse_actions
from ctxmem_env.cli.rollout import revisit_psnr
from ctxmem_env.cli.walks import Rollout
from ctxmem_env.trajectory import Trajectory

CONFIGS = Path(__file__).parent.parent / "configs"


@pytest.fixture
def true_rollout(run, tmp_path):
    """A rollout in a true scene, small and plain."""

    def run_command(*arguments):
        return run("rollout", "--env", "true", "--tour", 0, "--out", tmp_path / "true.mp4", *arguments)

    return run_command


def circle(n=24):
    """A strafing path: yaw does not follow the direction of travel."""
    angle = torch.linspace(0, 3, n, dtype=torch.float64)
    zero = torch.zeros_like(angle)
    x, y = 20 + angle.cos(), -30 + 2 * angle.sin()
    return torch.stack([x, y, zero + 1.2, 3.0 + 0.3 * angle, 0.1 * angle.sin(), zero], dim=1)


@pytest.fixture
def path_file(tmp_path):
    path = tmp_path / "path.json"
    path.write_text(json.dumps({"fov": 60, "poses": circle().tolist()}))
    return path


@pytest.fixture
def photo(tmp_path):
    """A picture as the dataset has them: RGBA and wider than high."""
    rng = np.random.default_rng(0)
    path = tmp_path / "photo.png"
    Image.fromarray(rng.integers(256, size=(36, 64, 4), dtype=np.uint8)).save(path)
    return path


def test_rollout_writes_a_video_and_prints_one_line_of_json(run, untrained_model, tmp_path):
    out = tmp_path / "new" / "walk.mp4"
    results, err = run("rollout", "--model", untrained_model, "--steps", 3, "--tour", 1, "--out", out)
    assert results["frames"] == 4
    assert results["steps_per_second"] > 0
    assert results["video"] == str(out)
    assert results["revisit_psnr"] is None
    assert out.stat().st_size > 0
    assert "3/3" in err


def test_the_walk_returns_to_the_first_view_and_stays_near_it():
    pose, far = torch.zeros(6, dtype=torch.float64), 0.0
    for motion in DiscreteActions().to_motion(parse_actions(WALK)).double():
        pose = move(pose, motion)
        far = max(far, float(pose[:2].norm()))
    torch.testing.assert_close(pose, torch.zeros_like(pose), atol=1e-5, rtol=0)
    assert far <= 1.0


def test_a_true_scene_looks_the_same_when_the_camera_returns(true_rollout):
    results, _ = true_rollout("--actions", "turn_left*10,turn_right*10", "--layout", "plain")
    assert results["revisits"] == 7  # the steps 14 to 20 are at least 8 steps after the first visit
    assert results["revisit_psnr"] > 45


def test_same_seed_gives_the_same_results(true_rollout):
    first, _ = true_rollout("--actions", "random", "--steps", 6, "--seed", 3)
    second, _ = true_rollout("--actions", "random", "--steps", 6, "--seed", 3)
    assert first.pop("steps_per_second") > 0 and second.pop("steps_per_second") > 0
    assert first == second


def test_gif_and_plain_layout(true_rollout, tmp_path):
    true_rollout("--steps", 2, "--layout", "plain", "--out", tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as video:
        assert video.n_frames == 3
        assert video.size == (384, 384)


def test_an_episode_comes_back_as_the_same_video(run, fail, untrained_model, tmp_path):
    options = ("--model", untrained_model, "--steps", 3, "--layout", "plain", "--out", tmp_path / "one.mp4")
    first, _ = run("rollout", *options, "--save-episode", tmp_path / "walk.json")
    again, err = run("rollout", "--replay", tmp_path / "walk.json", "--layout", "plain", "--out", tmp_path / "two.mp4")
    assert again["identical"] and again["frames"] == first["frames"] and "recorded ones" not in err
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()
    episode = json.loads((tmp_path / "walk.json").read_text())
    episode["actions"][1] = (episode["actions"][1] + 3) % 9
    (tmp_path / "walk.json").write_text(json.dumps(episode))
    changed, err = run("rollout", "--replay", tmp_path / "walk.json", "--out", tmp_path / "two.mp4")
    assert not changed["identical"] and "ctxmem: frame 2 and 1 after it are not the recorded ones" in err
    told = fail("rollout", "--replay", tmp_path / "walk.json", "--retrieval", "none")
    assert "replay and retrieval were both given" in told


def test_how_the_world_agrees_with_the_true_scene_is_told(run, untrained_model, tmp_path):
    options = ("--model", untrained_model, "--steps", 2, "--out", tmp_path / "a.gif")
    assert run("rollout", *options)[0]["true_psnr"] > 3
    assert run("rollout", *options, "--no-truth")[0]["true_psnr"] is None


def test_strategies_are_compared_on_one_walk(run, fail, untrained_model, tmp_path):
    options = (
        "compare",
        "--model",
        untrained_model,
        "--actions",
        "turn_left*5,turn_right*5",
        "--out",
        tmp_path / "c.gif",
    )
    results, err = run(*options, "--retrieval", "fov,none", "--scene", 3)
    assert list(results["strategies"]) == ["fov", "none"] and results["frames"] == 11 and "20/20" in err
    for figures in results["strategies"].values():
        assert len(figures["true_psnr_by_step"]) == 10 and figures["revisits"] == 2
        assert figures["true_psnr"] == pytest.approx(np.mean(figures["true_psnr_by_step"]), abs=0.01)
    # Walked alone, by actions in place of the path, the first one is the same.
    alone, _ = run("rollout", *options[1:-1], tmp_path / "a.gif", "--scene", 3)
    assert alone["true_psnr"] == pytest.approx(results["strategies"]["fov"]["true_psnr"], abs=0.1)
    assert results["strategies"]["none"]["true_psnr"] != alone["true_psnr"]
    with Image.open(tmp_path / "c.gif") as video:
        assert video.n_frames == 11
    for wrong, message in (("fov", "two or more different names"), ("fov,fof", "Did you mean 'fov'?")):
        assert message in fail(*options, "--retrieval", wrong)


def test_a_photograph_is_compared_without_a_true_scene(run, photo, untrained_model, tmp_path):
    options = ("--model", untrained_model, "--image", photo, "--steps", 2, "--quiet", "--out", tmp_path / "p.gif")
    results, err = run("compare", *options)
    assert err == "" and {figures["true_psnr"] for figures in results["strategies"].values()} == {None}


def test_quiet_is_quiet(run, true_rollout):
    assert "2/2" in true_rollout("--steps", 2)[1]
    assert true_rollout("--steps", 2, "--quiet")[1] == ""


def test_a_walk_is_plotted(true_rollout, tmp_path):
    results, _ = true_rollout("--steps", 3, "--plot", tmp_path / "plots")
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == ["memory.png", "trajectory.png"]
    assert results["plot"] == str(tmp_path / "plots")


def test_names_and_counts():
    assert parse_actions("forward*2, turn_left ,stay*1") == [1, 1, 5, 0]


def test_a_camera_path_is_followed_pose_by_pose(path_file, photo, untrained_model):
    """In a world that a picture opens the camera stands where the file says, at every step."""
    command = Rollout(trajectory=path_file, image=photo, model=str(untrained_model))
    drive = choose_drive(command)
    env = gym.make("CtxMemScene-v0", model=str(untrained_model), **drive.arguments)
    assert drive.start(command, 1.0)["fov"] == 60
    _, info = env.reset(seed=0, options={"image": str(photo), **drive.start(command, 1.0)})
    poses = [info["pose"]] + [env.step(action)[4]["pose"] for action in drive.actions]
    offset = torch.from_numpy(np.stack(poses)).double() - circle()
    assert offset[:, :3].abs().max() < 1e-4
    assert wrap_angle(offset[:, 3:]).abs().max() < 1e-4


def test_what_a_path_s_first_picture_shows_lies_beyond_the_path(path_file, photo):
    def start(**options):
        command = Rollout(trajectory=path_file, **options)
        return choose_drive(command).start(command, 1.0)

    furthest = (circle()[:, :3] - circle()[0, :3]).norm(dim=1).max().item()
    assert start(image=photo)["distance"] == pytest.approx(max(2 * furthest, 2.0))
    assert start(image=photo, distance=5.0)["distance"] == 5.0
    assert "distance" not in start()


def test_field_of_view_on_the_command_line_is_that_of_the_whole_picture(photo):
    command = Rollout(image=photo, fov=60.0)
    expected = cropped_fov(60.0, 64, 36)
    assert choose_drive(command).start(command, 1.0)["fov"] == pytest.approx(expected)
    assert choose_drive(Rollout(fov=60.0)).start(Rollout(fov=60.0), 1.0)["fov"] == 60.0


def test_a_long_path_ends_where_it_should():
    """Thousands of small steps, far from the origin, in the single precision of a world."""
    generator = torch.Generator().manual_seed(0)
    steps = torch.rand(7600, 6, generator=generator, dtype=torch.float64) - 0.5
    poses = (steps * torch.tensor([0.2, 0.2, 0, 0.03, 0, 0])).cumsum(0)
    poses += torch.tensor([109.0, 30.0, -2.0, 0.0, 0.0, 0.0])
    drive = follow(Trajectory(poses), None, "path")
    scale = torch.tensor([drive.arguments["step_length"]] * 2 + [np.radians(drive.arguments["turn_angle"])] * 2)
    pose = poses[0].float()
    for action in drive.actions:
        pose = move(pose, torch.from_numpy(action) * scale.float())
    assert (pose[:2] - poses[-1, :2]).norm() < 0.002
    assert wrap_angle(pose[3] - poses[-1, 3]).abs() < 1e-3


def test_a_published_path_and_picture_run_as_they_are(run, photo, untrained_model, tmp_path):
    frames = {
        str(n): {"position": [10887.0 + 6 * n, 30.0, -200.0], "rotation": [0, 0, 359.0 + n], "scale": [1, 1, 1]}
        for n in range(20)
    }
    path, out = tmp_path / "camera.json", tmp_path / "real.mp4"
    path.write_text(json.dumps({"CineCameraActor": frames}))
    options = ("--image", photo, "--trajectory", path, "--model", untrained_model, "--out", out)
    results, err = run("rollout", *options, "--steps", 5)
    assert results["frames"] == 6
    assert "the first 5 of 19 steps" in err


def test_a_path_begins_at_the_start_of_a_scene(true_rollout, path_file):
    results, _ = true_rollout("--trajectory", path_file, "--steps", 4, "--scene", 5)
    assert results["frames"] == 5


def test_changes_of_height_are_told():
    poses = circle()
    poses[:, 2] += torch.linspace(0, 1, len(poses), dtype=torch.float64)
    assert "height changes by 1.00 m, the camera keeps the first" in " ".join(
        follow(Trajectory(poses), None, "p").notes
    )


def test_a_path_that_stands_still_can_be_followed():
    drive = follow(Trajectory(circle()[:1].repeat(3, 1)), None, "path")
    np.testing.assert_array_equal(np.stack(drive.actions), np.zeros((2, 4), np.float32))


def test_actions_from_a_file(true_rollout, tmp_path):
    path = tmp_path / "actions.json"
    path.write_text('["forward", "turn_left"]')
    assert true_rollout("--actions", path)[0]["frames"] == 3
    path.write_text("[[1, 0, 0, 0], [0, -0.5, 0, 0], [0, 0, 1, 0]]")
    assert true_rollout("--actions", path)[0]["frames"] == 4


def test_revisits_are_compared_with_the_earliest_frame_at_the_same_pose():
    frames = np.zeros((20, 2, 2, 3), np.uint8)
    frames[0], frames[10], frames[19] = 100, 50, 110
    poses = np.zeros((20, 6))
    poses[:, 0] = np.arange(20)
    poses[10], poses[19] = poses[0], poses[0]
    poses[19, 3] = 2 * np.pi + np.radians(1.5)  # within 2 degrees, and once around
    value, count = revisit_psnr(frames, poses)
    assert count == 2
    assert value == pytest.approx((20 * np.log10(255 / 50) + 20 * np.log10(255 / 10)) / 2, abs=1e-3)
    poses[10, 3], poses[19, 3] = np.radians(2.5), np.pi
    assert revisit_psnr(frames, poses) == (None, 0)


def test_a_frame_just_seen_is_no_revisit():
    frames, poses = np.zeros((8, 2, 2, 3), np.uint8), np.zeros((8, 6))
    assert revisit_psnr(frames, poses) == (None, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "nnano"), "model='nnano' is unknown"),
        (("--retrieval", "fof", "--env", "true"), "Did you mean 'fov'?"),
        (("--actions", "forwards*2"), "action='forwards' is unknown. Did you mean 'forward'?"),
        (("--actions", "forward*0"), "'forward*0' is not understood; expected name or name*count"),
        (("--actions", "stay", "--steps", "2"), "steps=2, but actions holds 1; ask for at most 1"),
        (("--actions", "nothing.json"), "actions='nothing.json' does not exist"),
        (("--trajectory", "nothing.json"), "trajectory='nothing.json' does not exist"),
        (("--trajectory", "nothing.json", "--actions", "stay"), "actions and trajectory were both given"),
        (("--steps", "0"), "steps=0 is out of range"),
        (("--out", "walk.avi"), "out='walk.avi'; expected a file that ends in .mp4 or .gif"),
        (("--fps", "0", "--env", "true"), "fps=0.0; expected pictures a second"),
        (("--num-context", "0", "--env", "true"), "num_context=0 is out of range"),
        (("--tour", "-1", "--env", "true"), "options['tour']=-1 is out of range"),
        (("--scene", "liberry", "--env", "true"), "Did you mean 'library'?"),
        (("--fov", "5", "--env", "true"), "options['fov']=5.0; expected a horizontal field of view"),
        (("--device", "gpu9", "--env", "true"), "device='gpu9' is not a torch device"),
    ],
)
def test_bad_input_ends_in_one_line_and_writes_nothing(fail, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    err = fail("rollout", *options)
    assert err.count("\n") == 1
    assert err.startswith("ctxmem: error: ")
    assert message in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", r"holds []; expected a list of names"),
        ("{}", "expected a list of names"),
        ("stay", "is not JSON"),
        ('["stay", 3]', "is not a list of names"),
        ("[[1, 0, 0, 2]]", "expected four finite numbers in [-1, 1]"),
        ("[[1, 0, 0]]", "expected four finite numbers in [-1, 1]"),
        ("[[NaN, 0, 0, 0]]", "expected four finite numbers in [-1, 1]"),
        ('["stay", "jump"]', "action='jump' is unknown"),
    ],
)
def test_files_of_actions_that_hold_none_are_refused(fail, tmp_path, content, message):
    path = tmp_path / "actions.json"
    path.write_text(content)
    assert message in fail("rollout", "--env", "true", "--actions", path, "--out", tmp_path / "x.mp4")


def test_a_failure_leaves_an_earlier_video_alone(fail, tmp_path):
    out = tmp_path / "walk.mp4"
    out.write_bytes(b"earlier")
    fail("rollout", "--env", "true", "--scene", "no such style", "--out", out)
    assert out.read_bytes() == b"earlier"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "which command? One of play, serve, rollout"),
        (("rolout",), "command='rolout' is unknown. Did you mean 'rollout'?"),
        (("bench",), "bench what? One of step, retrieval"),
        (("bench", "stp"), "bench='stp' is unknown. Did you mean 'step'?"),
        (("rollout", "--stps", "3"), "option --stps is unknown. Did you mean --steps?"),
        (
            ("rollout", "--steps", "x"),
            "--steps='x' is not understood; expected --steps INT; see `ctxmem rollout --help`",
        ),
        (("rollout", "--layout", "pannel"), "invalid choice 'pannel' for argument '--layout'. Expected one of"),
        (("collect",), "--out is missing; see `ctxmem collect --help`"),
        (("train",), "CONFIG is missing; see `ctxmem train --help`"),
        (("bench", "step", "--repeats"), "see `ctxmem bench step --help`"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_arguments_that_are_none_end_in_one_line_with_a_hint(fail, arguments, message):
    err = fail(*arguments)
    assert err.startswith("ctxmem: error: ") and err.count("\n") == 1 and len(err) < 400
    assert message in err


def test_help_is_that_of_the_command(capsys):
    from ctxmem_env.cli import main

    for words, known in (
        (["--help"], "compare"),
        (["rollout", "--help"], "--replay FILE"),
        (["bench", "-h"], "vector"),
    ):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 0 and known in capsys.readouterr().out


def test_debug_shows_where_an_error_comes_from(fail, monkeypatch):
    assert "Traceback" in fail("rollout", "--steps", "0", "--debug")
    monkeypatch.setenv("CTXMEM_DEBUG", "1")
    assert "Traceback" in fail("rollout", "--steps", "0")


def test_train_refuses_configurations_before_it_writes(fail, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "no such file 'nothing.yaml'" in fail("train", "nothing.yaml")
    (tmp_path / "bad.yaml").write_text("num_stepz: 3\n")
    assert "Did you mean 'num_steps'?" in fail("train", "bad.yaml", "--out", "runs/bad")
    assert not (tmp_path / "runs").exists()


def test_help_is_quick_and_loads_no_torch():
    code = (
        "import sys\nfrom ctxmem_env.cli import main\ntry: main(['--help'])\nfinally: assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    for name in ("rollout", "train", "evaluate", "bench"):
        assert name in done.stdout


@pytest.mark.slow
def test_tiny_training_runs_from_the_command_line(run, tmp_path):
    results, err = run("train", CONFIGS / "tiny.yaml", "--out", tmp_path / "tiny", "--quiet")
    assert err == ""
    assert results["out"] == str(tmp_path / "tiny")
    assert results["steps"] == 20
