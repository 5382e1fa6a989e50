"""Worlds beside each other: in one process, in threads, in forked and in fresh processes, none knows of another."""

import threading

import gymnasium as gym
import numpy as np
import pytest
import torch
from batches import assert_same
from helpers import make
from torch.utils.data import DataLoader, Dataset

from ctxmem_env.device import same_values
from ctxmem_env.generator import load_generator, pipeline

ACTIONS = [1, 5, 5, 1, 6, 3, 7, 2]


def walk(seed, model=None, observation="rgbd"):
    env = make(observation=observation, **({} if model is None else {"model": model}))
    return [env.reset(seed=seed), *(env.step(action) for action in ACTIONS)]


@pytest.fixture(scope="module")
def alone(untrained_model):
    """Walks of two worlds over a network, one after the other."""
    return [walk(seed, str(untrained_model)) for seed in (0, 1)]


def test_two_environments_that_step_in_turn_are_as_each_alone(alone, untrained_model):
    envs = [make(model=str(untrained_model), observation="rgbd") for _ in range(2)]
    both = [[env.reset(seed=seed)] for seed, env in enumerate(envs)]
    for action in ACTIONS:
        for env, seen in zip(envs, both, strict=True):
            seen.append(env.step(action))
    assert_same(both, alone)


def test_two_environments_in_threads_are_as_each_alone(alone, untrained_model):
    found, begin = {}, threading.Barrier(2)

    def go(seed):
        begin.wait()
        found[seed] = walk(seed, str(untrained_model))

    threads = [threading.Thread(target=go, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert_same([found[0], found[1]], alone)


def test_depth_that_is_known_is_never_that_of_frames_for_which_another_thread_asks_meanwhile(
    monkeypatch, untrained_model
):
    generator, poses, fov = load_generator(str(untrained_model)), torch.zeros(1, 6), torch.full((1,), 65.0)
    frames = torch.randint(256, (2, 1, 48, 48, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    others, expected = (generator.estimate_depth(one, poses, fov) for one in frames.flip(0))
    assert not torch.equal(others, expected)

    def same_before_the_other_is_done(one, other):
        same = same_values(one, other)
        if one is fov:  # the last that is compared: what was asked for is known
            arguments = frames[1], poses, fov.clone()
            thread = threading.Thread(target=generator.estimate_depth, args=arguments)
            thread.start()
            thread.join()
            assert same_values(generator._estimated[0][0], frames[1])
        return same

    monkeypatch.setattr(pipeline, "same_values", same_before_the_other_is_done)
    assert torch.equal(generator.estimate_depth(frames[0], poses, fov), expected)


def test_weights_are_loaded_once_and_shared(untrained_model):
    envs = [make(model=str(untrained_model)).unwrapped for _ in range(2)]
    for env in envs:
        env.reset(seed=0)
    assert envs[0].world.generator is envs[1].world.generator is load_generator(str(untrained_model))
    assert envs[0].world.memory is not envs[1].world.memory
    assert envs[0].settings.task is not envs[1].settings.task


@pytest.mark.slow
@pytest.mark.parametrize("context", ["fork", "forkserver", "spawn"])
def test_processes_of_gymnasium_are_as_each_alone(context, alone, untrained_model):
    """The parent has computed before it forks: with one thread torch keeps no state that a child would wait for."""
    arguments = {"model": str(untrained_model), "observation": "rgbd", "tour": 2}
    # By this name the id is registered in a process that has imported nothing.
    envs = gym.make_vec("ctxmem_env:CtxMemScene-v0", 2, "async", {"context": context}, **arguments)
    try:
        seen = [envs.reset(seed=0)[0], *(envs.step([action] * 2)[0] for action in ACTIONS)]
    finally:
        envs.close()
    for world in (0, 1):
        for together, by_itself in zip(seen, alone[world], strict=True):
            for name in ("rgb", "depth"):
                np.testing.assert_array_equal(together[name][world], by_itself[0][name])


class Walks(Dataset):
    """Frames of walks, each of an environment that the worker opens."""

    def __init__(self, model):
        self.model = model

    def __len__(self):
        return 2

    def __getitem__(self, seed):
        return np.stack([step[0]["rgb"] for step in walk(seed, self.model)])


@pytest.mark.slow
@pytest.mark.parametrize("context", ["fork", "forkserver"])
def test_workers_of_a_data_loader_are_as_each_alone(context, alone, untrained_model):
    loader = DataLoader(Walks(str(untrained_model)), batch_size=None, num_workers=2, multiprocessing_context=context)
    for frames, by_itself in zip(loader, alone, strict=True):
        np.testing.assert_array_equal(frames, np.stack([step[0]["rgb"] for step in by_itself]))
