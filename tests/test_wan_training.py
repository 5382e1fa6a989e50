"""Training of Wan's adapters, at a tiny size: only what is asked for learns, and a run that was cut off goes on."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import ctxmem_env
from ctxmem_env.camera import move
from ctxmem_env.captures.write import write_nerfstudio
from ctxmem_env.config import MAX_SEED, from_dict, load_config, read_values
from ctxmem_env.generator import load_generator
from ctxmem_env.generator.wan.folders import Found
from ctxmem_env.generator.wan.store import build
from ctxmem_env.scenes import STYLES
from ctxmem_env.training.checkpoint import load_checkpoint
from ctxmem_env.training.wan import open_base, prepare, train_wan, velocity_loss
from ctxmem_env.training.wan_config import WanTrainConfig
from ctxmem_env.training.wan_data import CaptureClips, SceneClips

ROOT = Path(__file__).parent.parent
TINY = ROOT / "configs" / "wan_tiny.yaml"
CONFIG = load_config(WanTrainConfig, TINY)


def changed(**changes):
    return dataclasses.replace(CONFIG, **changes)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    out = tmp_path_factory.mktemp("wan") / "run"
    return out, train_wan(CONFIG, out, quiet=True)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return open_base(CONFIG, tmp_path_factory.mktemp("base"))


def test_the_command_trains_what_an_environment_opens(run, tmp_path):
    results, _ = run("train", TINY, "--out", tmp_path / "run", "--quiet")
    assert results["steps"] == CONFIG.num_steps and results["loss"] > 0 and results["trained"] > 0
    envs = gym.make_vec("CtxMemScene-v0", num_envs=2, model=results["model"], collisions=False, tour=1)
    envs.reset(seed=0)
    assert envs.step(np.array([1, 5]))[0].shape == (2, 32, 48, 3)
    assert envs.world.memory.lengths.tolist() == [7, 7]


def test_a_run_leaves_an_adapter_a_checkpoint_and_a_log(whole_run):
    out, results = whole_run
    assert {path.name for path in out.iterdir()} == {"adapter", "base", "latest.safetensors", "log.jsonl"}
    tensors = load_file(out / "adapter" / "adapter.safetensors")
    cameras = [value for name, value in tensors.items() if name.endswith("camera.weight")]
    assert len(cameras) == 2 and all(bool(value.any()) for value in cameras)  # they began at zero
    assert results["trained"] == sum(value.numel() for value in tensors.values())


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(whole_run, tmp_path):
    out = tmp_path / "run"
    train_wan(changed(num_steps=2), out, quiet=True)
    train_wan(CONFIG, out, quiet=True)
    whole, resumed = (load_file(path / "adapter" / "adapter.safetensors") for path in (whole_run[0], out))
    assert whole.keys() == resumed.keys() and all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize("seed", [4096, MAX_SEED])
def test_large_seeds_train(tmp_path, seed):
    assert train_wan(changed(seed=seed, num_steps=1), tmp_path / "run", quiet=True)["steps"] == 1


def test_a_checkpoint_of_another_run_is_refused(whole_run):
    with pytest.raises(ValueError, match=r"checkpoint: .* is of .*'train': 'lora'.*; use another folder"):
        train_wan(changed(train="camera"), whole_run[0], quiet=True)


@pytest.mark.parametrize(
    ("train", "parts"),
    [("camera", {"camera"}), ("lora", {"camera", "lora_A", "lora_B"}), ("all", None)],
)
def test_only_what_is_asked_for_learns(base, train, parts):
    config = changed(train=train)
    transformer = prepare(build(Found(base, None), torch.device("cpu")).transformer, config)
    learning = [name for name, parameter in transformer.named_parameters() if parameter.requires_grad]
    found = {part for name in learning for part in ("camera", "lora_A", "lora_B") if f".{part}." in name}
    if parts is None:
        assert len(learning) == len(list(transformer.parameters()))
    else:
        assert found == parts and all(any(f".{part}." in name for part in parts) for name in learning)


def test_the_loss_falls_on_a_clip_that_is_repeated(base):
    config = changed(train="all")
    generator = build(Found(base, None), torch.device("cpu"))
    generator.options = config.use
    transformer = prepare(generator.transformer, config)
    clip = SceneClips(config)[0]
    batch = {name: value[None] if name != "prompt" else [""] for name, value in clip.items()}
    optimizer = torch.optim.AdamW(transformer.parameters(), lr=3e-3)
    losses = []
    for _ in range(20):
        loss = velocity_loss(generator, transformer, batch, torch.Generator().manual_seed(0))
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < 0.8 * losses[0]


def test_a_clip_is_a_step_of_an_environment_and_a_function_of_seed_and_number():
    clips = SceneClips(changed(newest_only=0.0, no_prompt=0.0))
    for number in range(6):
        clip, again = clips[number], clips[number]
        assert all(torch.equal(clip[name], again[name]) for name in clip if name != "prompt")
        assert clip["frames"].shape == (5, 32, 48, 3) and clip["frames"].dtype == torch.uint8
        assert clip["context_frames"].shape == (3, 32, 48, 3) and clip["mask"][0]
        assert clip["prompt"] == again["prompt"] and clip["prompt"] in STYLES
        way, newest = clip["poses"], clip["context_poses"][0]
        steps = way.diff(dim=0)
        assert torch.allclose(steps[:, :3], steps[:1, :3], atol=1e-5)
        # The newest frame is where the step begins, one part of the motion before its first frame.
        assert torch.allclose(newest[:3] + steps[0, :3], way[0, :3], atol=1e-5)
        assert way[-1, 3:5].sub(newest[3:5]).abs().max() < np.radians(15) + 1e-5 or abs(newest[3]) > 2.8
    assert not torch.equal(clips[0]["frames"], clips[1]["frames"])
    still = torch.zeros(4)
    assert torch.equal(move(way[-1:], still), way[-1:])


def test_the_shares_of_poor_contexts_and_missing_prompts_are_those_of_the_config():
    clip = SceneClips(changed(newest_only=1.0, no_prompt=1.0))[3]
    assert clip["mask"].tolist() == [True, False, False] and clip["prompt"] == ""


def capture(folder, count):
    rng = np.random.default_rng(0)
    poses = np.zeros((count, 6))
    poses[:, 0], poses[:, 2] = 0.05 * np.arange(count), 1.5
    pictures = rng.integers(256, size=(count, 40, 60, 3), dtype=np.uint8)
    return write_nerfstudio(folder, ((picture, np.ones((40, 60))) for picture in pictures), poses, 60.0)


def test_captures_are_trained_on(run, tmp_path):
    config = changed(captures=[str(capture(tmp_path / "capture", 9))], newest_only=0.0)
    clips = CaptureClips(config)
    for number in range(4):
        clip = clips[number]
        assert clip["frames"].shape == (5, 32, 48, 3) and clip["prompt"] == ""
        x = clip["poses"][:, 0]
        assert torch.allclose(x.diff(), x.diff()[:1], atol=1e-5)
        used = clip["context_poses"][clip["mask"]]
        assert len(used) > 0 and bool((used[:, 0] < x[0]).all() or (used[:, 0] > x[0]).all())  # all come before
    results, _ = run("train", TINY, "--data", tmp_path / "capture", "--out", tmp_path / "run", "--quiet")
    assert results["steps"] == CONFIG.num_steps
    facts = load_checkpoint(tmp_path / "run" / "latest.safetensors")[1]
    assert facts["config"]["captures"] == config.captures


def test_captures_that_are_too_short_are_told(tmp_path):
    folder = capture(tmp_path / "capture", 5)
    with pytest.raises(ValueError, match="none of 1 captures has 6 pictures, one to remember and frames_per_step=5"):
        train_wan(changed(captures=[str(folder)]), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"base": "some"}, "base='some' with transformer=.*; expected either a base, or the shapes"),
        ({"vae": {}}, "base='' with transformer=.*; expected either a base, or the shapes"),
        ({"train": "loar"}, "train='loar' is unknown. Did you mean 'lora'"),
        ({"options": {"height": 33}}, "options: height=33; expected a multiple of 16"),
        ({"learning_rate": 0.0}, "learning_rate=0.0; expected a number above 0"),
        ({"newest_only": 2.0}, r"newest_only=2.0 is out of range; expected a number in \[0, 1\]"),
        ({"seed": 2**32}, r"seed=4294967296 is out of range; expected an integer in \[0, 4294967295\]"),
        ({"batch": 2}, "key='batch' is unknown. Did you mean 'batch_size'"),
    ],
)
def test_a_config_that_does_not_fit_is_told(values, message):
    with pytest.raises(ValueError, match=message):
        from_dict(WanTrainConfig, {**read_values(TINY), **values}, "some.yaml")


def test_a_base_that_is_an_adapter_is_refused(whole_run, tmp_path):
    with pytest.raises(ValueError, match=r"base='.*' is an adapter; expected a base"):
        train_wan(changed(base=str(whole_run[0] / "adapter"), transformer={}, vae={}), tmp_path / "run", quiet=True)


def test_every_field_is_read_by_some_code():
    package = Path(ctxmem_env.__file__).parent
    sources = [path.read_text() for path in package.rglob("*.py")]
    names = {field.name for field in dataclasses.fields(WanTrainConfig)}
    read = {name for name in names if any(re.search(rf"\b(?:config|c)\.{name}\b", source) for source in sources)}
    assert names - read == {"backend", "options"}  # which the config itself reads


def test_the_adapter_of_a_run_is_used_as_it_was_trained(whole_run):
    generator = load_generator(f"wan:{whole_run[0] / 'adapter'}", "cpu")
    assert generator.options == CONFIG.use and generator.weights_sha256


@pytest.mark.slow
def test_accelerate_launches_two_processes(tmp_path):
    command = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--cpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
    ]
    command += ["--mixed_precision", "no", "--dynamo_backend", "no", "-m", "ctxmem_env", "train", str(TINY)]
    done = subprocess.run([*command, "--out", str(tmp_path / "run")], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    load_generator(f"wan:{tmp_path / 'run' / 'adapter'}", "cpu")


@pytest.mark.slow
def test_blocks_that_are_sharded_over_processes_compute_the_same():
    script = Path(__file__).with_name("sharded_wan.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["equal", "equal"]


@pytest.mark.slow
@pytest.mark.parametrize("train", ["lora", "all"])
def test_a_run_whose_weights_are_sharded_learns_what_one_learns_that_keeps_them(tmp_path, train):
    script = Path(__file__).with_name("sharded_training.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run([*command, train, str(tmp_path)], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["equal", "equal"]
    load_generator(f"wan:{tmp_path / 'sharded' / 'adapter'}", "cpu")
