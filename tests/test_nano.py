"""The packaged model: whole, small, what its card says, and better than painters that learn nothing."""

import json

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import ctxmem_env.scenes.renderer
import ctxmem_env.start
from ctxmem_env.evaluation.baselines import CopyGenerator
from ctxmem_env.evaluation.protocols import follow, true_walks
from ctxmem_env.generator import load_generator
from ctxmem_env.generator.locate import PACKAGED
from ctxmem_env.scenes import split_of, split_seeds

NANO = PACKAGED / "nano"
FORWARD, TURN_LEFT, TURN_RIGHT = 1, 5, 6


def test_the_folder_is_under_20_megabytes_and_has_card_checksums_and_results():
    files = [path for path in NANO.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 20e6
    assert {"README.md", "checksums.json", "results.json", "bench.json"} <= {path.name for path in files}


def test_the_checkers_pass_with_the_default_model():
    check_env(gym.make("CtxMemScene-v0", tour=1, render_mode="rgb_array").unwrapped, skip_render_check=False)
    sb3_check_env(gym.make("CtxMemScene-v0", tour=1))
    assert json.loads(gym.make("CtxMemScene-v0").spec.to_json())["id"] == "CtxMemScene-v0"


def test_the_same_seed_and_actions_give_the_same_frames_and_another_seed_others():
    def frames(seed):
        env = gym.make("CtxMemScene-v0", tour=2)
        first = env.reset(seed=seed)[0]
        return np.stack([first] + [env.step(action)[0] for action in (FORWARD, TURN_LEFT, TURN_LEFT)])

    np.testing.assert_array_equal(frames(3), frames(3))
    assert not np.array_equal(frames(3), frames(4))


def test_after_reset_the_renderer_is_never_called(monkeypatch):
    env = gym.make("CtxMemScene-v0", tour=2, observation="rgbd")
    env.reset(seed=0)

    def refuse(*args, **kwargs):
        raise AssertionError("the renderer was called after reset")

    for module in (ctxmem_env.scenes, ctxmem_env.scenes.renderer, ctxmem_env.start):
        monkeypatch.setattr(module, "render", refuse)
    for action in range(9):
        env.step(action)


def test_a_place_is_still_there_after_looking_away():
    env = gym.make("CtxMemScene-v0")
    before = env.reset(seed=1, options={"scene": 2_000_005})[0].astype(float)
    for action in [TURN_LEFT] * 8 + [TURN_RIGHT] * 8:
        after = env.step(action)[0]
    error = np.square(before - after).mean()
    assert 10 * np.log10(255**2 / error) > 25


@pytest.mark.parametrize("replay", [True, False])
def test_it_beats_copying_on_scenes_of_the_validation_split(replay):
    generator = load_generator("nano", "cpu")
    walks = true_walks(split_seeds("validation", 4), 12, 6, 64, 64)
    copies = [CopyGenerator(which, 64, 64) for which in ("best", "newest")]
    painted, *copied = (follow(painter, walks, replay).psnr.mean() for painter in (generator, *copies))
    assert painted > max(copied) + 1.5


def test_figures_come_from_the_test_split():
    results = json.loads((NANO / "results.json").read_text())
    assert results["model"] == "nano" and {split_of(seed) for seed in results["scenes"]["seeds"]} == {"test"}
    assert results["machine"]["torch"] and results["commit"]
