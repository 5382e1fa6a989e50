"""One generator for worlds that step side by side: one call, and each gets what it would have got alone."""

import threading

import numpy as np
import pytest
import torch
from helpers import make

from ctxmem_env.testing import PoseGenerator
from ctxmem_env.viewer.sharing import Round, SharedGenerator


class Counting(PoseGenerator):
    """Counts the rows of each call."""

    def __init__(self, fails=False):
        super().__init__()
        self.encoded, self.generated, self.fails = [], [], fails

    def encode(self, frames, depth, poses, fov):
        self.encoded.append(len(frames))
        return super().encode(frames, depth, poses, fov)

    def generate(self, poses, context, fov, num_steps, generators):
        if self.fails:
            raise RuntimeError("no more paint")
        self.generated.append(len(poses))
        return super().generate(poses, context, fov, num_steps, generators)


def step_together(envs, actions):
    """What the steps return, or the errors that they raise, each in a thread of one round."""
    shared, results = Round(len(envs)), [None] * len(envs)

    def step(i):
        with shared.member():
            try:
                results[i] = envs[i].step(actions[i])
            except (RuntimeError, ValueError) as error:
                results[i] = error

    threads = [threading.Thread(target=step, args=(i,)) for i in range(len(envs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    return results, shared.batches


def opened(generator, count=3):
    tasks = ("roam", "point_goal", "explore")
    kinds = zip(tasks, ("fov", "recent", "random"), strict=True)
    envs = [make(model=generator, task=task, retrieval=retrieval).unwrapped for task, retrieval in list(kinds)[:count]]
    for seed, env in enumerate(envs):
        env.reset(seed=seed)
    return envs


def test_worlds_of_different_tasks_and_retrieval_are_painted_in_one_call_and_go_the_way_they_go_alone():
    generator = Counting()
    together, alone = opened(SharedGenerator(generator, "one")), opened(PoseGenerator())
    generator.encoded, generator.generated = [], []
    for action in (1, 5, 1, 6):
        results, batches = step_together(together, [action] * 3)
        for result, env in zip(results, alone, strict=True):
            observation, reward, over, _, info = env.step(action)
            assert np.array_equal(frame_of(result[0]), frame_of(observation))
            assert (result[1], result[2]) == (reward, over)
            assert np.array_equal(result[4]["retrieved"], info["retrieved"])
    assert generator.generated == [3] * 4
    assert len(generator.encoded) == 4 and min(generator.encoded) >= 3 and batches == [3, 3]


def frame_of(observation):
    return observation["rgb"] if isinstance(observation, dict) else observation


def test_a_world_that_refuses_its_action_does_not_hold_back_the_others():
    generator = Counting()
    envs = opened(SharedGenerator(generator, "one"))
    generator.generated = []
    results, _ = step_together(envs, [1, 99, 1])
    assert isinstance(results[1], ValueError)
    assert generator.generated == [2]
    assert all(len(results[i]) == 5 for i in (0, 2))


def test_an_error_of_the_generator_reaches_every_world_and_nobody_waits_for_ever():
    generator = Counting(fails=True)
    results, _ = step_together(opened(SharedGenerator(generator, "one")), [1, 1, 1])
    assert [str(result) for result in results] == ["no more paint"] * 3


def test_models_that_differ_are_called_one_by_one_in_the_same_round():
    one, other = Counting(), Counting()
    envs = opened(SharedGenerator(one, "one"), 2) + opened(SharedGenerator(other, "other"), 1)
    one.generated, other.generated = [], []
    step_together(envs, [1, 1, 1])
    assert (one.generated, other.generated) == ([2], [1])


def test_outside_of_a_round_a_call_goes_straight_through():
    generator = Counting()
    (env,) = opened(SharedGenerator(generator, "one"), 1)
    env.step(1)
    assert generator.generated == [1]


@pytest.mark.parametrize(
    "trait", ["height", "width", "predicts_depth", "takes_text", "frames_per_step", "num_attended"]
)
def test_a_shared_generator_is_like_the_one_behind_it(trait):
    generator = PoseGenerator(32, 40)
    generator.predicts_depth, generator.takes_text, generator.frames_per_step = False, True, 2
    generator.num_attended = 3
    assert getattr(SharedGenerator(generator, "one"), trait) == getattr(generator, trait)


def test_features_are_kept_of_no_more_frames_than_are_remembered():
    env = make(memory_capacity=12, num_context=4).unwrapped
    env.reset(seed=0)
    for _ in range(40):
        env.step(5)
    assert env.world._cache.capacity == 12 and len(env.world._cache) <= 12
    assert torch.equal(env.world.memory.lengths, torch.tensor([12]))
