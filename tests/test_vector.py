"""The batch against single environments, step by step."""

import copy
import json
import pickle

import gymnasium as gym
import numpy as np
import pytest
import torch
from batches import N, assert_same, make_sync, make_vec, walk
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics
from helpers import FORWARD, IDS, TURN_LEFT, Escape
from PIL import Image

from ctxmem_env import retrieval
from ctxmem_env.env import GenerativeSceneEnv
from ctxmem_env.generator import load_generator
from ctxmem_env.tasks import TASKS
from ctxmem_env.testing import PoseGenerator
from ctxmem_env.true_scene import TrueSceneVectorEnv
from ctxmem_env.vector import GenerativeSceneVectorEnv


@pytest.fixture
def escape(monkeypatch):
    monkeypatch.setitem(TASKS, "escape", Escape)
    return {"task": "escape", "max_episode_steps": 4}


@pytest.mark.parametrize("observation", ["rgb", "dict"])
@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_a_batch_goes_the_way_of_single_environments(escape, mode, observation):
    kwargs = {**escape, "observation": observation, "retrieval": "random" if observation == "rgb" else "fov"}
    batch = walk(make_vec(autoreset_mode=mode, **kwargs), seed=5)
    assert_same(batch, walk(make_sync(mode=mode, **kwargs), seed=5))
    terminated, truncated = (np.stack([step[i] for step in batch[1:]]) for i in (2, 3))
    assert terminated.any() and truncated.any()  # else nothing was tested
    assert (terminated | truncated).any(axis=1).sum() > (terminated | truncated).all(axis=1).sum()


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_true_scenes_in_a_batch_go_the_way_of_single_ones(escape, mode):
    kwargs = {**escape, "env_id": "CtxMemTrueScene-v0", "observation": "dict", "seed_depth": "estimated"}
    batch = make_vec(autoreset_mode=mode, **kwargs)
    assert type(batch) is TrueSceneVectorEnv
    # Distances of rays in a batch round differently in the last bit.
    assert_same(walk(batch), walk(make_sync(mode=mode, **kwargs)), atol=1e-4)


def test_without_autoreset_the_caller_resets_the_worlds_that_have_ended(escape):
    def walk_and_reset(envs):
        out = [envs.reset(seed=3)]
        for i in range(12):
            out.append(envs.step(np.array([TURN_LEFT, FORWARD, i % 9])))
            ended = out[-1][2] | out[-1][3]
            if ended.any():
                out.append(envs.reset(seed=[20 + i, None, 40 + i], options={"reset_mask": ended, "tour": 1}))
        return out

    batch = walk_and_reset(make_vec(autoreset_mode="Disabled", **escape))
    assert_same(batch, walk_and_reset(make_sync(mode="Disabled", **escape)))
    assert len(batch) > 15


@pytest.mark.parametrize("seed", [7, [3, 1, 2]])
def test_a_world_in_a_batch_equals_the_world_alone(seed):
    batch = walk(make_vec(observation="dict", num_context=5), seed=seed)
    for i, own_seed in enumerate([7, 8, 9] if seed == 7 else seed):
        actions = np.stack([np.random.default_rng(0).integers(0, 9, (11, N))])[0][:, i : i + 1]
        alone = walk(make_vec(1, observation="dict", num_context=5), seed=own_seed, actions=actions)
        for together, single in zip(batch, alone, strict=True):
            assert_same(together[0]["rgb"][i], single[0]["rgb"][0])
            assert_same(together[-1]["retrieved"][i], single[-1]["retrieved"][0])


def test_a_step_is_one_retrieval_and_one_call_of_the_generator(monkeypatch):
    generator, calls = PoseGenerator(), []
    chosen, painted = retrieval.RETRIEVAL["fov"], generator.generate
    monkeypatch.setitem(retrieval.RETRIEVAL, "fov", lambda query: calls.append("retrieve") or chosen(query))
    monkeypatch.setattr(generator, "generate", lambda *args: calls.append("generate") or painted(*args))
    walk(make_vec(5, model=generator), steps=4)
    assert calls == ["retrieve", "generate"] * 4


def test_no_seed_gives_every_world_its_own_randomness():
    frames, _ = make_vec().reset()
    assert len({frame.tobytes() for frame in frames}) == N
    batch, single = make_vec(), make_sync()
    for envs in (batch, single):
        envs.reset(seed=4)
    assert batch.np_random_seed == single.np_random_seed == (4, 5, 6)
    assert [rng.random() for rng in batch.np_random] == [rng.random() for rng in single.np_random]


def test_make_vec_gives_the_batch_and_other_modes_give_single_environments():
    envs = make_vec()
    assert type(envs) is GenerativeSceneVectorEnv and envs.num_envs == N
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert "autoreset_mode" not in GenerativeSceneVectorEnv.metadata
    assert envs.spec.kwargs["max_episode_steps"] == 500
    spec = gym.make_vec("CtxMemTrueScene-v0", 2, autoreset_mode="SameStep", fov=80.0).spec
    assert json.loads(spec.to_json())["kwargs"]["autoreset_mode"] == "SameStep"
    for mode, kind in (("sync", SyncVectorEnv), ("async", AsyncVectorEnv)):
        others = make_vec(2, vectorization_mode=mode)
        assert type(others) is kind
        assert others.reset(seed=0)[0].shape == (2, 48, 48, 3)
        others.close()
    assert type(make_sync().envs[0].unwrapped) is GenerativeSceneEnv
    assert envs.observation_space == make_sync().observation_space
    assert envs.action_space == make_sync().action_space


@pytest.mark.parametrize("limit", [None, -1])
def test_without_a_limit_no_episode_is_truncated(limit):
    envs = GenerativeSceneVectorEnv(2, max_episode_steps=limit, model=PoseGenerator(), tour=0)
    assert not any(step[3].any() for step in walk(envs, steps=30)[1:])


def test_observations_and_infos_are_in_their_spaces_and_belong_to_the_caller():
    kwargs = {"observation": "dict", "actions": "continuous", "max_episode_steps": 3, "autoreset_mode": "SameStep"}
    envs, untouched = make_vec(**kwargs), make_vec(**kwargs)
    actions = [envs.action_space.sample() for _ in range(5)]
    assert all(action.shape == (N, 4) for action in actions)
    expected = walk(untouched, actions=actions)
    envs.reset(seed=0)
    for action, wanted in zip(actions, expected[1:], strict=True):
        step = envs.step(action)
        assert step[0] in envs.observation_space
        assert_same(step, wanted)
        final = [one for one in step[-1].get("final_obs", []) if one is not None]
        for array in (*step[0].values(), *step[1:4], *(value for one in final for value in one.values())):
            array[...] = 0
        for array in step[-1].values():
            if isinstance(array, np.ndarray) and array.dtype != object:
                array[...] = 0


def test_options_hold_for_all_worlds_or_for_one():
    envs = make_vec(env_id="CtxMemTrueScene-v0")
    photo = Image.new("RGB", (60, 60), (10, 200, 30))
    same, _ = envs.reset(seed=[1, 1, 1], options={"scene": 5})
    np.testing.assert_array_equal(same[0], same[2])
    own, _ = envs.reset(seed=[1, 1, 1], options={"scene": 5, "worlds": [None, {"scene": 6}, {"tour": 1}]})
    np.testing.assert_array_equal(own[0], same[0])
    assert not np.array_equal(own[1], same[1])
    assert envs.world.memory.lengths.tolist() == [3, 3, 2]
    painted = make_vec()
    frames, _ = painted.reset(seed=0, options={"worlds": [{"image": photo}, {}, {"scene": 5, "fov": 70}]})
    np.testing.assert_array_equal(frames[0], np.broadcast_to([10, 200, 30], (48, 48, 3)))
    views = painted.step(np.zeros(N, np.int64))[0]
    assert [PoseGenerator.read(view).fov for view in views] == pytest.approx([90, 90, 70])


def test_worlds_are_painted_without_the_renderer_until_they_start_over(monkeypatch):
    from ctxmem_env import start

    envs = make_vec(max_episode_steps=3)
    envs.reset(seed=0)
    rendered = []
    monkeypatch.setattr(start, "render", lambda *args, render=start.render: rendered.append(1) or render(*args))
    counts = [envs.step(np.full(N, FORWARD)) and len(rendered) for _ in range(5)]
    assert counts == [0, 0, 0, N, N]


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_tensors_hold_what_the_arrays_hold(escape, mode):
    kwargs = {**escape, "observation": "dict", "autoreset_mode": mode}
    arrays, tensors = make_vec(**kwargs), make_vec(array="torch", **kwargs)

    def to_numpy(value):
        if isinstance(value, torch.Tensor):
            assert value.device == tensors.world.device
            return value.numpy()
        if isinstance(value, dict):
            return {name: to_numpy(part) for name, part in value.items()}
        if isinstance(value, tuple):
            return tuple(map(to_numpy, value))
        assert value is None or value.dtype == object
        return value if value is None else np.array([*map(to_numpy, value), None], dtype=object)[:-1]

    actions = [np.random.default_rng(0).integers(0, 9, N) for _ in range(11)]
    steps = walk(tensors, actions=[torch.from_numpy(action) for action in actions])
    for step, wanted in zip(steps, walk(arrays, actions=actions), strict=True):
        for name, part in step[0].items():
            assert part.dtype == (torch.uint8 if name == "rgb" else torch.float32)
        if len(step) > 2:
            assert step[1].dtype == torch.float32
            step, wanted = list(step), list(wanted)
            wanted[1] = wanted[1].astype(np.float32)
        assert_same(to_numpy(tuple(step)), tuple(wanted))
    before = tensors.step(actions[0])
    for part in before[0].values():
        part.zero_()
    assert tensors.world.memory.poses.abs().max() > 0


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_panels_are_those_of_single_environments(mode):
    kwargs = {"render_mode": "rgb_array", "max_episode_steps": 3}
    batch, single = make_vec(autoreset_mode=mode, **kwargs), make_sync(mode=mode, **kwargs)
    for envs in (batch, single):
        envs.reset(seed=0)
    assert_same(batch.render(), single.render())
    for i in range(5):
        for envs in (batch, single):
            envs.step(np.array([FORWARD, i, TURN_LEFT]))
        assert_same(batch.render(), single.render())
    envs = make_vec()
    envs.reset(seed=0)
    with pytest.warns(UserWarning, match="without a render_mode"):
        assert envs.render() is None


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda envs: pickle.loads(pickle.dumps(envs))])
@pytest.mark.parametrize("env_id", IDS)
def test_a_copied_batch_goes_on_where_it_stood(env_id, duplicate):
    envs = make_vec(env_id=env_id, max_episode_steps=4)
    walk(envs, steps=3)
    twin = duplicate(envs)
    for i in range(4):
        actions = np.array([FORWARD, TURN_LEFT, i])
        assert_same(envs.step(actions), twin.step(actions))


def test_a_pickle_holds_no_weights(untrained_model):
    envs = make_vec(model=str(untrained_model))
    envs.reset(seed=0)
    assert b"SceneTransformer" not in pickle.dumps(envs)
    assert pickle.loads(pickle.dumps(envs)).world.generator is envs.world.generator is not None


def test_wrappers_of_gymnasium_work(escape):
    envs = DictInfoToList(RecordEpisodeStatistics(make_vec(**escape, autoreset_mode="SameStep")))
    singles = DictInfoToList(RecordEpisodeStatistics(make_sync(**escape, mode="SameStep")))
    for step, wanted in zip(walk(envs), walk(singles), strict=True):
        for info, other in zip(step[-1], wanted[-1], strict=True):
            assert info.keys() == other.keys()
            if "episode" in info:
                assert info["episode"]["l"] == other["episode"]["l"]
                assert info["episode"]["r"] == other["episode"]["r"]


def assert_equal_in_double_precision(kwargs):
    """To the last level of every value: where nothing is rounded away, no world knows of the others."""
    precise = copy.deepcopy(load_generator("nano", "cpu"))
    precise.transformer.double()
    both = (walk(make(4, **kwargs | {"model": precise}), steps=30) for make in (make_vec, make_sync))
    for one, other in zip(*both, strict=True):
        np.testing.assert_array_equal(one[0], other[0])


@pytest.mark.slow
def test_the_packaged_model_paints_in_a_batch_what_it_paints_alone():
    kwargs = {"env_id": "CtxMemScene-v0", "model": "nano", "tour": 4, "max_episode_steps": 12}
    batch, single = walk(make_vec(4, **kwargs), steps=30), walk(make_sync(4, **kwargs), steps=30)
    for one, other in zip(batch, single, strict=True):
        np.testing.assert_array_equal(one[-1]["retrieved"], other[-1]["retrieved"])
    assert_equal_in_double_precision(kwargs)
    # Matrix products of another size may round differently, and of two frames that are as good another may be chosen.
    apart = np.abs(np.stack([one[0].astype(int) - other[0] for one, other in zip(batch, single, strict=True)]))
    assert (apart > 2).mean() < 1e-3 and apart.mean() < 0.1
