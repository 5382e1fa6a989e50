"""Training with Stable-Baselines3: it goes on where it was cut off, and what it leaves behind acts as it did."""

import argparse
import json
import runpy
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

ROOT = Path(__file__).parent.parent
CONFIG = """
algorithm: ppo
env: {task: point_goal, observation: rgbd, tour: 1, max_episode_steps: 8, height: 48, width: 48}
num_envs: 2
num_steps: 32
checkpoint_every: 16
features: {images: [depth], features_dim: 16}
net_arch: [8]
arguments: {n_steps: 8, batch_size: 16, n_epochs: 1}
"""


@pytest.fixture
def training(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "agents"))
    import training

    yield training
    sys.modules.pop("training")


@pytest.fixture
def args(tmp_path):
    (tmp_path / "small.yaml").write_text(CONFIG)
    return argparse.Namespace(
        config=tmp_path / "small.yaml", task="point_goal", out=tmp_path / "run", env_id="CtxMemTrueScene-v0",
        steps=None, num_envs=None, model="nano", quiet=True,
    )  # fmt: skip


def train(training, args, **changes):
    return training.run(PPO, "ppo", "MultiInputPolicy", argparse.Namespace(**{**vars(args), **changes}))


def checkpoints(folder):
    return sorted(int(path.stem) for path in folder.glob("[0-9]*.zip"))


def test_a_run_goes_on_from_its_last_checkpoint(training, args):
    assert train(training, args, steps=16)["steps"] == 16
    assert train(training, args)["steps"] == 32
    assert checkpoints(args.out) == [16, 32]
    lines = [json.loads(line) for line in (args.out / "curve.jsonl").read_text().splitlines()]
    assert [line["steps"] for line in lines] == [16, 32]
    assert lines[1]["seconds"] > lines[0]["seconds"] and lines[0]["episodes"] == 2
    assert {"success", "spl", "return"} <= set(lines[0])
    assert train(training, args)["steps"] == 32  # nothing is left to do


def test_a_run_that_goes_on_does_not_see_its_first_episodes_again(training, args, monkeypatch):
    step, places = training.Progress._on_step, []

    def watch(progress):
        places.append(np.stack([info["pose"] for info in progress.locals["infos"]]))
        return step(progress)

    monkeypatch.setattr(training.Progress, "_on_step", watch)
    train(training, args, steps=16)
    train(training, args)
    first, second = np.stack(places[:8]), np.stack(places[8:])
    assert len(first) == len(second) == 8
    assert np.linalg.norm(first[0, :, :2] - second[0, :, :2], axis=-1).min() > 0.5  # a step is 0.25 m


def test_an_interrupted_run_keeps_what_it_learned(training, args, monkeypatch):
    step = training.Progress._on_step

    def interrupt(progress):
        if progress.num_timesteps == 24:
            raise KeyboardInterrupt
        return step(progress)

    with monkeypatch.context() as patch:
        patch.setattr(training.Progress, "_on_step", interrupt)
        results = train(training, args)
    assert results["interrupted"] and checkpoints(args.out) == [16, 24]
    assert train(training, args)["steps"] >= 32


def test_a_damaged_checkpoint_is_named_and_kept(training, args):
    train(training, args, steps=16)
    (args.out / "20.zip").write_bytes(b"PK, and no more")
    with pytest.raises(ValueError, match=r"20\.zip is damaged; remove it to go on from the one before"):
        train(training, args)
    assert checkpoints(args.out) == [16, 20]


def test_a_checkpoint_for_other_spaces_is_refused(training, args):
    train(training, args, steps=16)
    args.config.write_text(CONFIG.replace("point_goal", "explore"))
    with pytest.raises(ValueError, match=r"16\.zip does not fit: .* choose another --out"):
        train(training, args)


def test_a_configuration_of_another_algorithm_is_refused(training, args):
    args.config.write_text(CONFIG.replace("algorithm: ppo", "algorithm: sac"))
    with pytest.raises(ValueError, match=r"algorithm is 'sac'; run agents/sac\.py"):
        train(training, args)


def test_the_packaged_configurations_are_whole(training):
    from ctxmem_env.config import load_config

    for path in (ROOT / "configs" / "agents").glob("*.yaml"):
        config = load_config(training.AgentConfig, path)
        assert path.stem == f"{config.algorithm}_{config.env['task']}"
        assert (ROOT / "agents" / f"{config.algorithm}.py").is_file()


def test_the_exported_policy_acts_as_the_trained_one(training, args):
    from ctxmem_env.policies.network import load_policy
    from ctxmem_env.sb3 import make_sb3_vec_env

    results = train(training, args)
    assert results["policy"] == str(args.out / "32.safetensors")
    env = make_sb3_vec_env(
        "CtxMemTrueScene-v0", 3, 1, env_kwargs={"task": "point_goal", "observation": "rgbd", "tour": 1, "height": 48,
                                                "width": 48},
    )  # fmt: skip
    model, policy = PPO.load(args.out / "32.zip", device="cpu"), load_policy(results["policy"])
    observation = env.reset()
    for _ in range(4):
        logits = policy.logits(observation)
        images = {name: np.moveaxis(value, -1, 1) if name == "rgb" else value for name, value in observation.items()}
        with torch.no_grad():
            wanted = model.policy.get_distribution(model.policy.obs_to_tensor(images)[0]).distribution.logits
        torch.testing.assert_close(logits.log_softmax(1), wanted, atol=5e-3, rtol=0)  # it is kept in half precision
        observation, *_ = env.step(policy.predict(observation)[0])
    assert policy.tasks == ("point_goal",) and policy.facts["steps"] == 32
    env.close()


def test_a_file_that_holds_no_agent_gets_one_error_that_names_it(monkeypatch, tmp_path):
    (tmp_path / "text.zip").write_text("no zip")
    (tmp_path / "folder.zip").mkdir()
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("a.txt", "a")
    for name, what in (
        ("nope.zip", "there is no such file"),
        ("folder.zip", "there is no such file"),
        ("text.zip", "is no file that Stable-Baselines3 wrote"),
        ("other.zip", "is no file that Stable-Baselines3 wrote"),
    ):
        monkeypatch.setattr(sys, "argv", ["evaluate.py", str(tmp_path / name)])
        with pytest.raises(SystemExit, match=rf"^evaluate\.py: error: policy='\S*/{name}':? {what}.*; give .*\.$"):
            runpy.run_path(str(ROOT / "agents" / "evaluate.py"), run_name="__main__")
