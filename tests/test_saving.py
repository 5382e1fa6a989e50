"""Saved worlds: they go on as if nothing had been, and only where they fit."""

import hashlib
import pickle
import struct

import gymnasium as gym
import numpy as np
import pytest
import torch
from batches import assert_same
from files import read_all, rewrite
from gymnasium.error import ResetNeeded
from helpers import Escape, make, walk
from test_state import TASKS, go, opened, some_actions

from ctxmem_env.facts import random_state
from ctxmem_env.generator.store import read_generator
from ctxmem_env.testing import PoseGenerator


@pytest.mark.parametrize("eviction", [None, "coverage", "oldest", "reservoir"])
@pytest.mark.parametrize("retrieval", ["fov", "random"])
def test_a_loaded_world_goes_on_as_the_one_that_was_saved(eviction, retrieval, tmp_path):
    bound = {} if eviction is None else {"memory_capacity": 70, "eviction": eviction}  # more than memory begins with
    kwargs = {"observation": "dict", "retrieval": retrieval, "render_mode": "rgb_array", **bound}
    env = opened(steps=90, **kwargs)
    path = env.save(tmp_path / "a.ctxworld")
    twin = make(**kwargs).unwrapped
    seen = twin.load(path)
    np.testing.assert_array_equal(twin.render(), env.render())
    assert_same(seen, env.restore_state(env.clone_state()))
    assert_same(go(twin, some_actions(30)), go(env, some_actions(30)))
    assert_same(twin.reset(), env.reset())
    assert_same(twin.load(path), seen)


@pytest.mark.parametrize("task", TASKS)
def test_goals_and_progress_are_in_the_file(task, tmp_path):
    env = opened(task=task, memory_capacity=12)
    path = env.save(tmp_path / "a.ctxworld")
    other = opened(task=task, memory_capacity=12, seed=9)  # in the midst of another episode
    other.load(path)
    assert_same(go(other, some_actions(30)), go(env, some_actions(30)))


def test_a_world_is_saved_right_after_reset_and_after_episodes_before_it(tmp_path):
    env = opened(memory_capacity=9, steps=20)
    first = env.reset(seed=5)
    twin = make(memory_capacity=9).unwrapped
    assert_same(twin.load(env.save(tmp_path / "a.ctxworld")), first)
    assert_same(go(twin, some_actions(20)), go(env, some_actions(20)))


@pytest.mark.parametrize("bits", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_every_kind_of_random_generator_comes_back(bits, tmp_path):
    env, twin = opened(), make().unwrapped
    env.np_random = np.random.Generator(getattr(np.random, bits)(7))
    env.np_random.integers(10, dtype=np.int8)  # leaves half-used bits
    twin.load(env.save(tmp_path / "a.ctxworld"))
    assert type(twin.np_random.bit_generator).__name__ == bits
    assert twin.np_random_seed == -1
    np.testing.assert_array_equal(twin.np_random.normal(size=9), env.np_random.normal(size=9))


def test_states_that_are_held_survive_a_load(tmp_path):
    env = opened(memory_capacity=10)
    path, state = env.save(tmp_path / "a.ctxworld"), env.clone_state()
    expected = go(env, some_actions(20))
    env.reset(seed=8)
    env.load(path)
    assert_same(go(env, some_actions(20)), expected)
    env.restore_state(state)
    assert_same(go(env, some_actions(20)), expected)


def test_behind_the_wrappers_a_world_is_loaded_after_reset(tmp_path):
    env, twin = make(), make()
    walk(env, some_actions(5))
    path = env.unwrapped.save(tmp_path / "a.ctxworld")
    twin.reset()
    twin.unwrapped.load(path)
    assert_same([twin.step(action) for action in some_actions(8)], [env.step(action) for action in some_actions(8)])


def test_the_packaged_model_goes_on_to_the_bit(tmp_path):
    env = gym.make("CtxMemScene-v0", observation="rgbd").unwrapped
    env.reset(seed=1)
    go(env, some_actions(14))
    path = env.save(tmp_path / "a.ctxworld")
    twin = gym.make("CtxMemScene-v0", observation="rgbd").unwrapped
    twin.load(path)
    assert_same(go(twin, some_actions(10, seed=1)), go(env, some_actions(10, seed=1)))
    assert path.stat().st_size < 0.7 * env.world.memory.lengths.item() * 64 * 64 * 5


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A small world with everything in it that a file may hold."""
    kwargs = {"task": "image_goal", "memory_capacity": 12, "observation": "dict"}
    return opened(**kwargs).save(tmp_path_factory.mktemp("worlds") / "a.ctxworld").read_bytes(), kwargs


@pytest.fixture
def refused(saved, tmp_path):
    """Checks that a file is refused with a text that names it, and that the present world does not notice."""
    env, undisturbed = (opened(seed=6, **saved[1]) for _ in range(2))

    def check(content, match):
        path = tmp_path / "b.ctxworld"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=match) as caught:
            env.load(path)
        assert str(caught.value).startswith(f"path='{path}' ") and str(caught.value).endswith(".")
        assert_same(go(env, some_actions(2)), go(undisturbed, some_actions(2)))

    return check


def test_a_truncated_file_is_refused_wherever_it_ends(saved, refused):
    content = saved[0]
    for size in (8, 9, 51, 52, 200, len(content) // 2, len(content) - 41, len(content) - 1):
        refused(content[:size], "is truncated or damaged; put an intact copy in its place")
    refused(content + b"\0", "is truncated or damaged")


def test_a_flipped_bit_is_noticed_wherever_it_is(saved, refused):
    content = saved[0]
    for at in [8, 12, *np.random.default_rng(0).integers(13, len(content), 25).tolist(), len(content) - 1]:
        damaged = bytearray(content)
        damaged[at] ^= 1 << (at % 8)
        refused(bytes(damaged), "damaged|format version")


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n", pickle.dumps({}), b"CTXWORLD" + bytes(99), b"\0" * 4096])
def test_what_is_something_else_is_refused(content, refused):
    refused(content, "is not a saved world: it does not begin as one")


def test_a_file_of_another_version_is_refused(saved, refused):
    refused(saved[0][:8] + struct.pack("<I", 2) + saved[0][12:], "has format version 2, and this package reads 1")


def without(name):
    return lambda facts, arrays: arrays.pop(name)


def put(name, value):
    return lambda facts, arrays: arrays.update({name: np.asarray(value, arrays[name].dtype)})


def tell(name, value):
    return lambda facts, arrays: facts.update({name: value})


def random(name, **changes):
    """The state of a random generator of NumPy, with some of its parts changed."""
    state = random_state(np.random.Generator(getattr(np.random, name)(0)))
    for part in (state, state["state"]):
        part.update({key: value for key, value in changes.items() if key in part})
    return {"state": state, "seed": 0}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (without("memory.poses"), r"has memory.poses of none; expected \('float32', \(12, 6\)\)"),
        (without("memory.frames.0"), "lacks memory.frames.0, for it tells of 12 frames"),
        (without("eviction._views"), "has eviction._views of none"),
        (put("path", np.zeros((1, 6))), r"has path of \('float32', \(1, 6\)\); expected \('float32', \(13, 6\)\)"),
        (put("memory.slots", np.zeros(12)), "slots, times, poses or depth that do not fit each other"),
        (put("memory.slots", np.arange(12) + 1), "slots, times, poses or depth that do not fit"),
        (put("memory.times", np.arange(12)), "slots, times, poses or depth that do not fit"),
        (put("memory.times", np.arange(12)[::-1]), "slots, times, poses or depth that do not fit"),
        (put("memory.poses", np.full((12, 6), np.nan)), "slots, times, poses or depth that do not fit"),
        (put("memory.depth.0", np.full((12, 48, 48), np.inf)), "slots, times, poses or depth that do not fit"),
        (put("world.fov", [0.0]), "fov=0.0; expected a horizontal field of view"),
        (put("world.generators", np.zeros((1, 5056))), "holds something that no world has"),
        (tell("length", 10**30), "has length=10{30}; expected an integer"),
        (tell("length", 0), "has length=0; expected an integer of at least 1"),
        (tell("length", "12"), "has length='12'; expected"),
        (tell("count", 3), "has count=3; expected an integer of at least 12"),
        (tell("slots", 13), "has slots=13; expected"),
        (tell("random", {"state": {"bit_generator": "eval"}, "seed": 0}), "random generator 'eval'"),
        (tell("random", {"state": {"bit_generator": "PCG64"}, "seed": 0}), "holds something that no world has"),
        (tell("random", None), "holds something that no world has"),
        (tell("random", random("MT19937", pos=10**9)), "'MT19937' at place 1000000000, not 0 to 624"),
        (tell("random", random("MT19937", pos=-1)), "'MT19937' at place -1, not 0 to 624"),
        (tell("random", random("MT19937", key=[1, 2])), "holds something that no world has"),
        (tell("random", random("Philox", buffer_pos=-1)), "'Philox' at place -1, not 0 to 4"),
        (tell("random", random("Philox", buffer=[])), "holds something that no world has"),
        (tell("task", {}), r"a task with \[\], and not \['cameras', 'dense'\]"),
        (tell("task", {"cameras": 1, "dense": "yes"}), "task.dense='yes', a str"),
        (tell("task", {"cameras": 0, "dense": True}), "task.cameras=0, not 1"),
        (tell("eviction", []), "holds something that no world has"),
        (tell("settings", 1), "has no settings or no generator, and is no world of this package"),
    ],
)
def test_what_no_world_has_is_refused(change, match, saved, refused, tmp_path):
    path = tmp_path / "c.ctxworld"
    path.write_bytes(saved[0])
    refused(rewrite(path, change).read_bytes(), match)


@pytest.mark.parametrize("states", [[], {}, "PCG64"])
def test_an_eviction_without_its_random_generator_is_refused(states, tmp_path):
    kwargs = {"memory_capacity": 12, "eviction": "reservoir"}
    path = opened(**kwargs).save(tmp_path / "a.ctxworld")
    rewrite(path, tell("eviction", {"_rngs": states}))
    with pytest.raises(ValueError, match=r"eviction\._rngs that is no list of 1 random generators"):
        make(**kwargs).unwrapped.load(path)


@pytest.mark.parametrize(
    ("saved_with", "own"),
    [
        ({"task": "roam"}, {"task": "explore"}),
        ({"reward": "dense"}, {"reward": "sparse"}),
        ({"actions": "discrete"}, {"actions": "continuous"}),
        ({"observation": "rgb"}, {"observation": "dict"}),
        ({"retrieval": "fov"}, {"retrieval": "recent"}),
        ({"num_context": 8}, {"num_context": 4}),
        ({"memory_capacity": None}, {"memory_capacity": 40}),
        ({"eviction": "oldest"}, {"eviction": "reservoir"}),
        ({"num_steps": None}, {"num_steps": 1}),
        ({"step_length": 0.25}, {"step_length": 0.5}),
        ({"turn_angle": 15.0}, {"turn_angle": 30.0}),
        ({"collisions": True}, {"collisions": False}),
        ({"body_radius": 0.15}, {"body_radius": 0.2}),
        ({"sliding": False}, {"sliding": True}),
    ],
    ids=lambda changes: str(*changes),
)
def test_a_world_of_other_settings_is_refused(saved_with, own, tmp_path):
    path = opened(steps=1, **saved_with).save(tmp_path / "a.ctxworld")
    ((name, was),), ((_, now),) = saved_with.items(), own.items()
    message = f"was saved with {name}={was!r}, and this environment has {name}={now!r}; open it with {name}={was!r}"
    with pytest.raises(ValueError, match=message):
        make(**own).unwrapped.load(path, any_generator=True)


def test_what_does_not_touch_an_open_world_may_differ(tmp_path):
    env, twin = (
        opened(tour=2, fov=70.0),
        make(tour=5, fov=90.0, seed_depth="estimated", render_mode="rgb_array").unwrapped,
    )
    twin.load(env.save(tmp_path / "a.ctxworld"))
    assert_same(go(twin, some_actions(9)), go(env, some_actions(9)))


def test_frames_of_another_size_are_refused(tmp_path):
    path = opened(steps=1).save(tmp_path / "a.ctxworld")
    with pytest.raises(ValueError, match=r"frames of \[48, 48\] pixels .* have \[48, 64\]; use the model that painted"):
        make(model=PoseGenerator(48, 64)).unwrapped.load(path, any_generator=True)


def test_a_world_of_another_generator_is_refused_unless_it_is_asked_for(tmp_path, untrained_model):
    path = opened(steps=3).save(tmp_path / "a.ctxworld")
    env = make(model=str(untrained_model)).unwrapped
    match = (
        r"was painted by 'ctxmem_env.testing.pose_generator.PoseGenerator', and this environment has '.*untrained' "
        r"\(weights of SHA"
    )
    with pytest.raises(ValueError, match=match + r".*open it with the first, or pass any_generator=True"):
        env.load(path)
    env.load(path, any_generator=True)
    env.step(1)
    back = env.save(tmp_path / "b.ctxworld")
    with pytest.raises(ValueError, match=r"was painted by '.*untrained' \(weights of SHA-256 [0-9a-f]{12}\)"):
        make().unwrapped.load(back)


def test_weights_are_known_by_their_checksum_and_not_by_their_name(tmp_path, untrained_model):
    env = make(model=str(untrained_model)).unwrapped
    env.reset(seed=0)
    path = env.save(tmp_path / "a.ctxworld")
    same = make(model=read_generator(untrained_model)).unwrapped
    same.load(path)
    same.step(1)
    weights = (untrained_model / "transformer" / "diffusion_pytorch_model.safetensors").read_bytes()
    assert read_all(path)[0]["generator"]["sha256"] == hashlib.sha256(weights).hexdigest()
    other = read_generator(untrained_model)
    other.weights_sha256 = "0" * 64
    with pytest.raises(ValueError, match=r"SHA-256 000000000000\); open it with the first"):
        make(model=other).unwrapped.load(path)


class Picky(Escape):
    """A task that keeps more than tensors."""

    def open(self, num_worlds, height, width, device):
        self.kept, self.turns = {}, 3


def test_what_no_file_can_hold_is_named(tmp_path):
    env = make().unwrapped
    env.settings = env.settings.__class__(**(vars(env.settings) | {"task": Picky()}))
    env.reset(seed=0)
    with pytest.raises(
        ValueError, match="the task keeps kept, a dict, which no file can hold; expected tensors of bool"
    ):
        env.save(tmp_path / "a.ctxworld")
    env.settings.task.kept = torch.arange(3)
    path = env.save(tmp_path / "a.ctxworld")
    env.settings.task.turns, env.settings.task.kept = 9, torch.zeros(3, dtype=torch.int64)
    env.load(path)
    assert env.settings.task.turns == 3 and env.settings.task.kept.tolist() == [0, 1, 2]


def test_the_true_world_has_no_file(tmp_path):
    env = make("CtxMemTrueScene-v0").unwrapped
    env.reset(seed=0)
    for refuse in (env.save, env.load):
        with pytest.raises(ValueError, match="a file holds no true scene"):
            refuse(tmp_path / "a.ctxworld")


def test_before_the_first_reset_there_is_nothing_to_save(tmp_path):
    with pytest.raises(ResetNeeded):
        make().unwrapped.save(tmp_path / "a.ctxworld")
    assert list(tmp_path.iterdir()) == []
