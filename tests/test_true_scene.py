"""The exact renderer in place of a model, for one camera, for many worlds and for cameras that share one."""

import gymnasium as gym
import numpy as np
import pytest
from helpers import FORWARD, make

from ctxmem_env.parallel import TrueSceneParallelEnv

SIZE = {"height": 16, "width": 16, "tour": 0}
MAKERS = {
    "make": lambda **kwargs: gym.make("CtxMemTrueScene-v0", **SIZE, **kwargs),
    "make_vec": lambda **kwargs: gym.make_vec("CtxMemTrueScene-v0", 2, **SIZE, **kwargs),
    "parallel": lambda **kwargs: TrueSceneParallelEnv(**SIZE, **kwargs),
}


@pytest.mark.parametrize("given", [{"model": "nano"}, {"model": 3}, {"num_steps": 7}, {"num_steps": 0}])
@pytest.mark.parametrize("maker", MAKERS)
def test_arguments_of_a_model_are_refused_by_name(maker, given):
    ((name, value),) = given.items()
    expected = (
        f"{name}={value!r} was given, but a true scene is rendered and has no model; leave {name} out, or use Ctx"
    )
    with pytest.raises(ValueError, match=expected):
        MAKERS[maker](**given)


@pytest.mark.parametrize("maker", MAKERS)
def test_arguments_of_a_model_that_ask_for_nothing_are_as_if_left_out(maker):
    env, plain = MAKERS[maker](model=None, num_steps=None), MAKERS[maker]()
    assert env.unwrapped.settings.of_worlds == plain.unwrapped.settings.of_worlds
    env.reset(seed=0)


@pytest.mark.parametrize("seed_depth", ["exact", "estimated"])
def test_depth_is_that_of_the_scene_whatever_seed_depth_says(seed_depth):
    env, plain = (make("CtxMemTrueScene-v0", observation="rgbd", **own) for own in ({"seed_depth": seed_depth}, {}))
    for one, other in ((env.reset(seed=0)[0], plain.reset(seed=0)[0]), (env.step(FORWARD)[0], plain.step(FORWARD)[0])):
        assert (one["depth"] == other["depth"]).all()


def test_cameras_in_a_true_scene_take_a_seed_as_those_of_pettingzoo_do():
    cameras = TrueSceneParallelEnv(num_cameras=2, height=16, width=16)
    by_position, by_name = cameras.reset(3)[0], cameras.reset(seed=3)[0]
    assert all(np.array_equal(by_position[name], by_name[name]) for name in cameras.agents)
