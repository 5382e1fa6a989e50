"""Going back to a moment: from there everything is as it would have been, however often and by whatever detour."""

import copy
import gc
import pickle

import gymnasium as gym
import numpy as np
import pytest
import torch
from batches import assert_same, make_vec
from gymnasium.error import ResetNeeded
from helpers import IDS, make
from test_world import open_world

from ctxmem_env.feature_cache import FeatureTable
from ctxmem_env.spatial_index import SpatialIndex
from ctxmem_env.testing import PoseGenerator

TASKS = ("roam", "point_goal", "image_goal", "explore", "look_back")


def some_actions(n, seed=0):
    return np.random.default_rng(seed).integers(0, 9, n).tolist()


def go(env, actions):
    """What the steps return and what the environment's own random generator would draw then."""
    return [*(env.step(action) for action in actions), copy.deepcopy(env.np_random).random()]


def opened(env_id="CtxMemScene-v0", steps=12, seed=3, **kwargs):
    env = make(env_id, **kwargs).unwrapped
    env.reset(seed=seed)
    for action in some_actions(steps, seed=1):
        env.step(action)
    return env


@pytest.mark.parametrize("eviction", [None, "coverage", "oldest", "reservoir"])
@pytest.mark.parametrize("retrieval", ["fov", "random"])
def test_every_way_on_from_a_state_is_the_same(eviction, retrieval):
    bound = {} if eviction is None else {"memory_capacity": 10, "eviction": eviction}
    env = opened(observation="dict", retrieval=retrieval, **bound)
    state = env.clone_state()
    expected = go(env, some_actions(25))
    for seed in (5, 6):
        env.restore_state(state)
        go(env, some_actions(20, seed=seed))
        seen = env.restore_state(state)
        assert_same(go(env, some_actions(25)), expected)
    assert_same(env.restore_state(state), seen)


@pytest.mark.parametrize(("env_id", "task"), [*((IDS[0], task) for task in TASKS), (IDS[1], "explore")])
def test_goals_progress_and_scenes_come_back_after_another_episode(env_id, task):
    env = opened(env_id, task=task, observation="rgbd", memory_capacity=12)
    state = env.clone_state()
    expected = go(env, some_actions(25))
    env.reset(seed=8)
    go(env, some_actions(15, seed=2))
    env.restore_state(state)
    assert_same(go(env, some_actions(25)), expected)
    again = env.reset()  # the next episode is drawn from the generator that came back
    env.restore_state(state)
    assert_same(go(env, some_actions(25)), expected)
    assert_same(env.reset(), again)


@pytest.mark.parametrize("bound", [{}, {"memory_capacity": 9}, {"memory_capacity": 9, "eviction": "reservoir"}])
def test_a_tree_of_states_holds_as_many_worlds_as_were_walked_alone(bound):
    """Steps, resets, states and returns at random; each state must go on as a world that came to it directly."""
    rng = np.random.default_rng(0)
    env = make(tour=1, **bound).unwrapped
    env.reset(seed=0)
    history = [("reset", 0)]
    states = []
    for turn in range(120):
        what = rng.choice(["step", "step", "step", "clone", "restore", "reset"], p=[0.2, 0.2, 0.2, 0.2, 0.18, 0.02])
        if what == "clone":
            states.append((env.clone_state(), list(history)))
        elif what == "restore" and states:
            state, past = states[rng.integers(len(states))]
            env.restore_state(state)
            history = list(past)
        elif what == "reset":
            env.reset(seed=turn)
            history = [("reset", turn)]
        else:
            action = int(rng.integers(9))
            env.step(action)
            history.append(("step", action))
        if len(states) > 12:
            del states[int(rng.integers(len(states)))]
    assert len(states) == 12
    for state, past in states:
        alone = make(tour=1, **bound).unwrapped
        for kind, value in past:
            alone.reset(seed=value) if kind == "reset" else alone.step(value)
        env.restore_state(state)
        assert_same(go(env, some_actions(12)), go(alone, some_actions(12)))


def test_a_memory_that_has_grown_since_goes_back_too():
    env = opened(memory_capacity=70, steps=30)  # memory begins with 64 slots
    state = env.clone_state()
    expected = go(env, some_actions(60))
    env.restore_state(state)
    assert_same(go(env, some_actions(60)), expected)


def test_what_an_index_finds_does_not_tell_how_it_came_about():
    poses = np.zeros((80, 6))
    poses[::2, 3] = 1.0  # two directions, in each of which only the 24 oldest frames are found
    walked, built = SpatialIndex(1), SpatialIndex(1)
    for slot, pose in enumerate(poses.tolist()):
        walked.append(0, slot, pose)
    gone = (5, 0)
    for slot in gone:
        walked.remove(0, slot)
    for slot in sorted(set(range(80)) - set(gone)):
        built.append(0, slot, poses[slot].tolist())
    assert walked.within(0, 0.0, 0.0, 1.0) == built.within(0, 0.0, 0.0, 1.0)
    assert len(built.within(0, 0.0, 0.0, 1.0)) == 48


def test_no_frame_is_copied_for_a_state_that_nothing_overwrites():
    env = opened(steps=40)
    storage, state = env.world.memory._frames, env.clone_state()
    for seed in range(3):
        go(env, some_actions(20, seed=seed))
        env.restore_state(state)
    assert env.world.memory._frames is storage
    assert state.world.memory.moment.aside == {}


def test_what_another_way_overwrites_is_put_aside_once_for_all_states_that_hold_it():
    env = opened(steps=5)
    root = env.clone_state()
    go(env, some_actions(3))
    states = [env.clone_state() for _ in range(3)]
    env.restore_state(root)
    go(env, some_actions(2, seed=1))
    held = [state.world.memory.moment.aside for state in states]
    assert [len(aside) for aside in held] == [2, 2, 2]
    assert all(held[0][number] is held[2][number] for number in held[0])


def test_a_state_that_nobody_refers_to_costs_nothing():
    env = opened(memory_capacity=9)
    state = env.clone_state()
    assert state.world.memory.moment in env.world.memory._log
    aside = state.world.memory.moment.aside
    del state
    gc.collect()
    go(env, some_actions(10))
    assert aside == {} and len(env.world.memory._log._moments) == 0


def test_features_are_not_computed_again_after_a_return():
    generator = PoseGenerator()
    env = opened(steps=20, model=generator)
    go(env, some_actions(5))
    state = env.clone_state()
    go(env, some_actions(1))  # encodes what the next view needs
    env.restore_state(state)
    before = generator.num_encoded
    go(env, some_actions(1))
    assert generator.num_encoded == before


def test_a_state_belongs_to_the_environment_that_gave_it():
    env, other = opened(), opened()
    state = env.clone_state()
    expected = go(opened(), some_actions(4))
    with pytest.raises(ValueError, match="not one that clone_state gave here; another memory is reached by a file"):
        other.restore_state(state)
    for wrong in (None, state.world, 3):
        with pytest.raises(ValueError, match=f"state is a {type(wrong).__name__}; expected what clone_state of this"):
            other.restore_state(wrong)
    assert_same(go(other, some_actions(4)), expected)
    fresh = make().unwrapped
    with pytest.raises(ValueError, match="expected what clone_state of this environment gave"):
        fresh.restore_state(state)
    with pytest.raises(ResetNeeded):
        fresh.clone_state()


def test_worlds_refuse_the_states_of_other_worlds():
    world, other = open_world(), open_world()
    with pytest.raises(ValueError, match="not one that clone_state gave here"):
        other.restore_state(world.clone_state())
    with pytest.raises(ValueError, match="state is a dict; expected what clone_state gave"):
        other.restore_state({})


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_made_while_states_are_held_goes_on_and_holds_none_of_them(duplicate):
    env = opened(memory_capacity=8)
    state = env.clone_state()
    twin = duplicate(env)
    assert_same(go(twin, some_actions(12)), go(env, some_actions(12)))
    with pytest.raises(ValueError, match="not one that clone_state gave here"):
        twin.restore_state(state)
    env.restore_state(state)


def test_the_panel_comes_back_too():
    env = opened(render_mode="rgb_array")
    state, panel = env.clone_state(), env.render()
    go(env, some_actions(4))
    assert not np.array_equal(env.render(), panel)
    env.restore_state(state)
    np.testing.assert_array_equal(env.render(), panel)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
@pytest.mark.parametrize("env_id", IDS)
def test_a_batch_goes_back_through_autoresets_together(env_id, mode):
    envs = make_vec(env_id=env_id, task="image_goal", max_episode_steps=5, autoreset_mode=mode, memory_capacity=9)
    envs.reset(seed=4)
    rng = np.random.default_rng(0)
    actions = [rng.integers(0, 9, envs.num_envs) for _ in range(13)]
    for action in actions[:4]:
        envs.step(action)
    state = envs.clone_state()
    expected = [envs.step(action) for action in actions]
    seen = envs.restore_state(state)
    for _ in range(2):
        assert_same([envs.step(action) for action in actions], expected)
        assert_same(envs.restore_state(state), seen)


def test_features_that_lie_by_slot_come_back_with_their_frames():
    def by_slot():
        world = open_world(memory_capacity=5, n=2)
        world._table = FeatureTable(1, 5)  # as on another device
        world.reset(0, *[part[:2] for part in start], fov=90.0, seed=0)
        return world

    start = (torch.randint(0, 256, (2, 48, 48, 3), dtype=torch.uint8), torch.full((2, 48, 48), 2.0), torch.zeros(2, 6))
    motions = (torch.rand(20, 1, 4, generator=torch.Generator().manual_seed(0)) - 0.4) * 0.3
    world = by_slot()
    for motion in motions[:8]:
        world.advance(motion)
    state = world.clone_state()
    expected = [world.advance(motion).frames for motion in motions[8:]]
    world.restore_state(state)
    assert all(torch.equal(world.advance(m).frames, frame) for m, frame in zip(motions[8:], expected, strict=True))


@pytest.mark.parametrize("bound", [None, 16])
def test_the_packaged_model_paints_the_same_bits_again(bound):
    env = gym.make("CtxMemScene-v0", observation="rgbd", memory_capacity=bound).unwrapped
    env.reset(seed=2)
    go(env, some_actions(6))
    state = env.clone_state()
    expected = go(env, some_actions(10, seed=1))
    env.restore_state(state)
    go(env, some_actions(4, seed=2))
    env.restore_state(state)
    assert_same(go(env, some_actions(10, seed=1)), expected)
