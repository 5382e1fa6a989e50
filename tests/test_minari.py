"""Episodes as Minari datasets, read back as offline learners read them."""

import importlib.util

import gymnasium as gym
import numpy as np
import pytest

minari = pytest.importorskip("minari")


def walked(dataset, env_id, **arguments):
    """What the environment gives for the seeds and actions of the dataset."""
    env = gym.make(env_id, **arguments)
    for episode in dataset.iterate_episodes():
        metadata = next(iter(dataset.storage.get_episode_metadata([episode.id])))
        seen, steps = [env.reset(seed=int(metadata["seed"]))[0]], []
        for action in episode.actions:
            observation, *step, _ = env.step(action)
            seen.append(observation)
            steps.append(step)
        yield episode, seen, *map(np.array, zip(*steps, strict=True))


def same(episode, seen):
    if isinstance(seen[0], dict):
        for name in seen[0]:
            np.testing.assert_array_equal(episode.observations[name], np.stack([one[name] for one in seen]))
    else:
        np.testing.assert_array_equal(episode.observations, np.stack(seen))


@pytest.mark.parametrize(("env", "env_id"), [("true", "CtxMemTrueScene-v0"), ("generated", "CtxMemScene-v0")])
def test_a_dataset_holds_what_the_environment_gives(run, tmp_path, untrained_model, env, env_id):
    registered = dict(gym.spec("CtxMemTrueScene-v0").kwargs)
    command = ("collect", "--format", "minari", "--policy", "random", "--task", "explore", "--seed", 3, "--env", env)
    model = ("--model", untrained_model) if env == "generated" else ()
    results, _ = run(*command, *model, "--episodes", 2, "--steps", 4, "--out", tmp_path / "d", "--quiet")
    dataset = minari.MinariDataset(tmp_path / "d")
    assert dataset.total_episodes == results["episodes"] == 2 and dataset.total_steps == results["steps"] == 8
    assert dataset.spec.dataset_id == f"ctxmem/explore-{env}/random-v0"
    assert dataset.env_spec.id == env_id and dataset.env_spec.kwargs["task"] == "explore"
    recovered = dataset.recover_environment()
    assert dataset.observation_space == recovered.observation_space and dataset.action_space == gym.spaces.Discrete(9)
    true = dataset.recover_environment(eval_env=True)
    assert true.spec.id == "CtxMemTrueScene-v0" and true.spec.kwargs["task"] == "explore"
    assert gym.spec("CtxMemTrueScene-v0").kwargs == registered  # as it was
    arguments = {"task": "explore", "max_episode_steps": 4} | ({"model": str(untrained_model)} if model else {})
    returns = []
    for episode, seen, rewards, terminations, truncations in walked(dataset, env_id, **arguments):
        same(episode, seen)
        np.testing.assert_array_equal(episode.rewards, rewards)
        np.testing.assert_array_equal(episode.terminations, terminations)
        np.testing.assert_array_equal(episode.truncations, truncations)
        assert truncations.tolist() == [False] * 3 + [True] and not terminations.any()
        returns.append(rewards.sum())
    assert results["mean_return"] == pytest.approx(np.mean(returns), abs=1e-4) and max(returns) > 0


def test_a_policy_gets_the_observations_that_it_needs(run, tmp_path):
    command = ("collect", "--format", "minari", "--policy", "turn_and_go", "--task", "point_goal", "--scene", 5)
    results, _ = run(*command, "--episodes", 1, "--steps", 30, "--out", tmp_path / "d", "--quiet")
    dataset = minari.MinariDataset(tmp_path / "d")
    (episode,) = dataset.iterate_episodes()
    assert set(episode.observations) == {"rgb", "goal"} and len(episode.actions) == results["steps"]
    assert len(set(episode.actions.tolist())) > 1 and bool(episode.terminations[-1] or episode.truncations[-1])


def test_what_does_not_fit_is_told_before_anything_is_written(fail, tmp_path, monkeypatch):
    command = ("collect", "--format", "minari", "--out", tmp_path / "d")
    assert "task='roam', but TurnAndGo serves 'point_goal'" in fail(*command, "--policy", "turn_and_go")
    assert "policy='rndom' is unknown. Did you mean 'random'" in fail(*command, "--policy", "rndom")
    assert "height=64 has no meaning with format='minari'" in fail(*command, "--height", 64)
    assert "task='explore' has no meaning with format='nerfstudio'" in fail(
        "collect", "--scene", 5, "--task", "explore", "--out", tmp_path / "d"
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "needs Minari, which is not installed; pip install 'ctxmem-env[minari]'" in fail(*command)
    assert not (tmp_path / "d").exists()


def test_a_walk_through_a_generated_world_is_a_capture(run, fail, tmp_path, untrained_model):
    from ctxmem_env.captures import open_capture, remember

    options = ("--env", "generated", "--model", untrained_model, "--scene", 5, "--seed", 2, "--steps", 3)
    results, _ = run("collect", *options, "--out", tmp_path / "walk", "--quiet")
    assert results["env"] == "CtxMemScene-v0" and results["frames"] == 4
    env = gym.make("CtxMemScene-v0", model=str(untrained_model), observation="dict", max_episode_steps=3)
    first, _ = env.reset(seed=2, options={"scene": 5})
    found = open_capture(tmp_path / "walk")
    read = remember(found, None, None, None, 48, 48)
    np.testing.assert_array_equal(read.frames[0], first["rgb"])
    np.testing.assert_allclose(found.poses[0], first["pose"], atol=1e-6)
    np.testing.assert_allclose(read.depth[0], first["depth"][..., 0].clip(0, 65.535), atol=6e-4)
    assert "height=64 has no meaning with env='generated'" in fail(
        "collect", *options, "--height", 64, "--out", tmp_path / "w"
    )
