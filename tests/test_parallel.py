"""Cameras that share a world, by PettingZoo's own tests, against the single environment, and in training."""

import copy
import inspect
import pickle
import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest
import supersuit
import torch
from gymnasium.error import ResetNeeded
from helpers import FORWARD, IDS, TURN_LEFT, TURN_RIGHT, Escape, make
from pettingzoo.utils.conversions import parallel_to_aec
from stable_baselines3 import PPO

from ctxmem_env.parallel import GenerativeSceneParallelEnv, TrueSceneParallelEnv, env, parallel_env
from ctxmem_env.scenes import build_scene, is_free, render, stack_scenes
from ctxmem_env.tasks import TASKS, Beginning
from ctxmem_env.tasks.explore import Explore
from ctxmem_env.testing import PoseGenerator

with warnings.catch_warnings():  # from 1.26 on its tests import an environment of its own in a way that it deprecates
    warnings.simplefilter("ignore", DeprecationWarning)
    from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, render_test, seed_test

STAY = 0
FACES = [GenerativeSceneParallelEnv, TrueSceneParallelEnv]
PHOTO = np.random.default_rng(0).integers(256, size=(60, 60, 3), dtype=np.uint8)


def arguments(face=GenerativeSceneParallelEnv, **kwargs):
    small = {"model": PoseGenerator()} if face is GenerativeSceneParallelEnv else {"height": 48, "width": 48}
    return {"tour": 2, **small, **kwargs}


def make_cameras(face=GenerativeSceneParallelEnv, **kwargs):
    return face(**arguments(face, **kwargs))


def act(cameras, *actions):
    """A step with the actions of the agents that are left, in order."""
    return cameras.step(dict(zip(cameras.agents, actions, strict=True)))


def assert_equal_steps(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_equal(a, b)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("face", FACES)
def test_the_tests_of_pettingzoo_pass(face, task):
    kwargs = {"task": task, "actions": "continuous" if task == "explore" else "discrete", "max_cycles": 8}
    # Its tests give an option of their own, and remark on every observation that is a Dict.
    with pytest.warns(UserWarning, match="reset option='options' is unknown"):
        parallel_api_test(make_cameras(face, **kwargs), num_cycles=12)
    parallel_seed_test(lambda: make_cameras(face, **kwargs), num_cycles=5)
    if task in ("roam", "explore"):
        with pytest.warns(UserWarning, match="reset option='options' is unknown"):
            api_test(parallel_to_aec(make_cameras(face, **kwargs)), num_cycles=12)
    seed_test(lambda: parallel_to_aec(make_cameras(face, **kwargs)), num_cycles=5)


def test_its_test_of_rendering_passes(monkeypatch):
    monkeypatch.setitem(GenerativeSceneParallelEnv.metadata, "render_fps", 1000)
    render_test(lambda **kwargs: env(**arguments(**kwargs)))


@pytest.mark.parametrize("observation", ["rgb", "dict"])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("face", "env_id"), [*zip(FACES, IDS, strict=True)])
def test_one_camera_alone_is_the_single_environment(face, env_id, task, observation):
    kwargs = {"task": task, "observation": observation, "sliding": True, "memory_capacity": 12}
    cameras, single = make_cameras(face, num_cameras=1, **kwargs), make(env_id, **kwargs).unwrapped
    assert cameras.observation_space("camera_0") == single.observation_space
    assert cameras.action_space("camera_0") == single.action_space
    for seed in (3, None):
        alone = [part["camera_0"] for part in cameras.reset(seed=seed)]
        assert_equal_steps(alone, single.reset(seed=seed))
        for action in (FORWARD, TURN_LEFT, FORWARD, FORWARD, TURN_RIGHT, 7) * 2:
            assert_equal_steps([part["camera_0"] for part in act(cameras, action)], single.step(action))


@pytest.mark.parametrize("face", FACES)
def test_same_seed_and_actions_give_the_same_episode_and_another_seed_does_not(face):
    def walk(seed):
        cameras = make_cameras(face, num_cameras=3, task="explore")
        steps = [cameras.reset(seed=5), cameras.reset(seed=seed)]
        return steps[1:] + [act(cameras, i % 9, FORWARD, TURN_LEFT) for i in range(6)]

    for one, other in zip(walk(7), walk(7), strict=True):
        assert_equal_steps(one, other)
    assert not np.array_equal(walk(7)[0][0]["camera_0"], walk(8)[0][0]["camera_0"])


def test_all_cameras_begin_at_free_places_of_one_scene():
    cameras = make_cameras(TrueSceneParallelEnv, num_cameras=3)
    pose = cameras.reset(seed=0, options={"scene": 5})[1]["camera_1"]["pose"]
    observations, infos = cameras.reset(seed=1, options={"scene": 5, "pose": pose})
    np.testing.assert_allclose(infos["camera_0"]["pose"], pose, atol=1e-6)
    poses = np.stack([info["pose"] for info in infos.values()])
    assert np.linalg.norm(poses[:, None, :2] - poses[None, :, :2], axis=-1)[np.triu_indices(3, 1)].min() > 0.1
    scene = build_scene(5)
    assert all(is_free(scene, torch.from_numpy(pose[:2]), 0.15) for pose in poses)
    for _ in range(2):
        frames, _ = render(stack_scenes([scene]), torch.from_numpy(poses)[None], 90.0, 48, 48)
        np.testing.assert_array_equal(np.stack([*observations.values()]), frames[0].numpy())
        observations, *_, infos = act(cameras, FORWARD, TURN_LEFT, FORWARD)
        poses = np.stack([info["pose"] for info in infos.values()])


def test_a_style_means_one_scene_for_all_cameras():
    cameras = make_cameras(TrueSceneParallelEnv, num_cameras=3)
    for options in ({"scene": "library"}, None):
        cameras.reset(seed=0, options=options)
        centres = cameras.world.generator.scenes.centre
        assert torch.equal(centres[1], centres[0]) and torch.equal(centres[2], centres[0])


def test_in_a_photograph_all_begin_where_it_was_taken_and_remember_it_once():
    cameras = make_cameras(num_cameras=3)
    observations, infos = cameras.reset(seed=0, options={"image": PHOTO, "pose": (1, 2, 1.5, 0.5, 0, 0)})
    for agent in cameras.agents:
        np.testing.assert_array_equal(observations[agent], observations["camera_0"])
        np.testing.assert_allclose(infos[agent]["pose"], [1, 2, 1.5, 0.5, 0, 0])
    alone = make().unwrapped
    alone.reset(seed=0, options={"image": PHOTO})
    assert torch.equal(cameras.world.memory.lengths, alone.world.memory.lengths)


def test_every_frame_is_in_the_shared_memory_once():
    cameras = make_cameras(num_cameras=3, tour=4)
    seen = list(cameras.reset(seed=0)[0].values())
    memory = cameras.world.memory
    assert memory.num_worlds == 1 and memory.lengths.tolist() == [3 * (4 + 1)]
    for _ in range(3):
        observations, *_, infos = act(cameras, FORWARD, TURN_LEFT, STAY)
        seen += observations.values()
    assert memory.lengths.tolist() == [3 * (4 + 1) + 3 * 3]
    order = torch.tensor([[4, 9, 14, *range(15, 24)]])  # the last frame of each tour, then those that were painted
    np.testing.assert_array_equal(memory.gather(order).frames[0].numpy(), np.stack(seen))
    newest = [info["retrieved"][0] for info in infos.values()]
    assert newest == [18, 19, 20]  # each begins with what it made itself in the step before


def test_cameras_find_what_others_have_seen_in_info_and_pixels():
    cameras = make_cameras(retrieval="recent", num_context=4, tour=0)
    cameras.reset(seed=0)
    poses = []
    for _ in range(3):
        observations, *_, infos = act(cameras, FORWARD, TURN_LEFT)
        poses.append([info["pose"] for info in infos.values()])
    assert infos["camera_0"]["retrieved"].tolist() == infos["camera_1"]["retrieved"].tolist() == [5, 4, 3, 2]
    painted = PoseGenerator.read(observations["camera_0"])
    np.testing.assert_array_equal(painted.context_poses, np.array(poses)[1::-1, ::-1].reshape(4, 6))


def test_the_world_is_painted_by_one_call_a_step_without_the_renderer(monkeypatch):
    from ctxmem_env import start

    cameras, calls = make_cameras(num_cameras=4), []
    cameras.reset(seed=0)
    generator = cameras.world.generator
    monkeypatch.setattr(start, "render", None)
    monkeypatch.setattr(
        generator, "generate", lambda *args, generate=generator.generate: calls.append(len(args[0])) or generate(*args)
    )
    for _ in range(3):
        act(cameras, FORWARD, TURN_LEFT, STAY, TURN_RIGHT)
    assert calls == [4] * 3


def psnr(one, other):
    return 10 * np.log10(255**2 / np.square(one.astype(float) - other).mean())


def test_what_one_camera_has_painted_the_other_finds_when_it_comes_from_the_other_side():
    """The first looks around to the left; the second comes to the same views by the right.

    It finds them about as well as one camera does that goes both ways, and makes up others where it is alone.
    """
    photo = make("CtxMemTrueScene-v0", height=64, width=64).reset(seed=0, options={"scene": 2_000_000})[0]

    def looks(cameras, agent, action, count):
        idle = dict.fromkeys(cameras.agents, STAY)
        return [cameras.step(idle | {agent: action})[0][agent] for _ in range(count)]

    shared, alone, one = (parallel_env(num_cameras=count, turn_angle=30.0) for count in (2, 1, 1))
    for cameras in (shared, alone, one):
        cameras.reset(seed=0, options={"image": photo})
    first = looks(shared, "camera_0", TURN_LEFT, 5)[:2:-1]  # 150 and 120 degrees to the left
    second = looks(shared, "camera_1", TURN_RIGHT, 8)[6:]  # 210 and 240 to the right
    other = looks(alone, "camera_0", TURN_RIGHT, 8)[6:]
    both_ways = looks(one, "camera_0", TURN_LEFT, 5)[:2:-1], looks(one, "camera_0", TURN_RIGHT, 13)[11:]
    found, made_up, own = (
        np.array([psnr(*pair) for pair in zip(*looked, strict=True)])
        for looked in ((first, second), (first, other), both_ways)
    )
    assert found.mean() > max(36, own.mean() - 2)
    assert found.min() > made_up.max() + 3 and made_up.max() < 32


def test_the_team_is_paid_for_each_piece_of_ground_once():
    """Against one camera alone that is shown, one by one, what each of them sees."""
    for reward in ("dense", "sparse"):
        cameras = make_cameras(TrueSceneParallelEnv, num_cameras=3, task="explore", reward=reward, observation="dict")
        observations, infos = cameras.reset(seed=2, options={"scene": 4})
        reference = Explore(reward)
        reference.open(1, 48, 48, torch.device("cpu"))

        def show(observation):
            pose, depth = (torch.from_numpy(observation[name])[None] for name in ("pose", "depth"))
            return pose, None, depth[..., 0]

        (pose, _, depth), *others = map(show, observations.values())
        reference.begin(0, Beginning(None, depth, pose, 90.0, None), None)
        for other in others:
            reference.evaluate(*other)
        area, paid, expected = float(reference.seen_area), 0.0, 0.0
        assert {info["seen_area"] for info in infos.values()} == {area}
        assert {info["new_area"] for info in infos.values()} == {0.0}
        for i in range(20):
            observations, rewards, *_, infos = act(cameras, i % 9, FORWARD if i % 3 else TURN_LEFT, TURN_RIGHT)
            expected += sum(float(reference.evaluate(*show(observation))[0]) for observation in observations.values())
            paid += rewards["camera_0"]
            assert len(set(rewards.values())) == 1
            assert {info["seen_area"] for info in infos.values()} == {float(reference.seen_area)}
        assert paid == expected > 0
        if reward == "dense":
            assert paid == float(reference.seen_area) - area


def test_what_all_see_at_once_pays_what_it_pays_one_alone():
    options = {"image": PHOTO, "distance": 5.0}
    paid = []
    for count in (1, 3):
        cameras = make_cameras(num_cameras=count, task="explore", collisions=False)
        cameras.reset(seed=0, options=options)
        paid.append([act(cameras, *[action] * count)[1]["camera_0"] for action in (TURN_LEFT, FORWARD, FORWARD)])
    assert paid[0] == paid[1] and paid[0][0] > 0


def test_goals_are_each_cameras_own():
    cameras = make_cameras(task="point_goal", num_cameras=3)
    for options in ({"image": PHOTO, "distance": 5.0}, None):
        _, infos = cameras.reset(seed=0, options=options)
        assert len({info["distance_to_goal"] for info in infos.values()}) == 3
    rewards = act(cameras, FORWARD, TURN_LEFT, STAY)[1]
    assert rewards["camera_1"] == rewards["camera_2"] == pytest.approx(-0.01) != rewards["camera_0"]


def test_a_camera_whose_task_has_ended_leaves_and_the_others_go_on(monkeypatch):
    monkeypatch.setitem(TASKS, "escape", Escape)
    cameras = make_cameras(task="escape", max_cycles=8, num_cameras=3, render_mode="rgb_array", collisions=False)
    cameras.reset(seed=0, options={"image": PHOTO})
    for _ in range(2):
        _, _, terminations, *_ = act(cameras, TURN_LEFT, TURN_RIGHT, FORWARD)
        assert terminations == dict.fromkeys(cameras.possible_agents, False)
    _, _, terminations, truncations, infos = act(cameras, TURN_LEFT, STAY, FORWARD)
    assert terminations == {"camera_0": True, "camera_1": False, "camera_2": False} and not any(truncations.values())
    assert cameras.agents == ["camera_1", "camera_2"] and infos.keys() == terminations.keys()
    panel, lengths = cameras.render(), cameras.world.memory.lengths
    with pytest.raises(ValueError, match=r"actions holds actions of \['camera_0'\]; expected one action for each of"):
        cameras.step(dict.fromkeys(cameras.possible_agents, STAY))
    for part in act(cameras, STAY, FORWARD):
        assert part.keys() == {"camera_1", "camera_2"}
    assert torch.equal(cameras.world.memory.lengths, lengths + 2)
    third = panel.shape[1] // 3
    shown = cameras.render()
    assert np.array_equal(shown[:, :third], panel[:, :third]) and not np.array_equal(shown, panel)
    _, rewards, terminations, *_ = act(cameras, TURN_RIGHT, FORWARD)
    assert terminations == {"camera_1": True, "camera_2": False}
    assert rewards["camera_2"] == pytest.approx(5 * 0.25)
    for _ in range(3):
        *_, truncations, _ = act(cameras, STAY)
    assert truncations == {"camera_2": True} and cameras.agents == []
    with pytest.raises(ResetNeeded, match=r"episodes of all cameras have ended; call reset\(\)"):
        cameras.step({})
    assert len(cameras.reset()[0]) == 3


@pytest.mark.parametrize("factory", [parallel_env, env, TrueSceneParallelEnv])
def test_unless_told_otherwise_episodes_are_as_long_as_those_of_gymnasium_make(factory):
    assert inspect.signature(factory).parameters["max_cycles"].default == gym.spec(IDS[0]).max_episode_steps
    assert gym.spec(IDS[1]).max_episode_steps == gym.spec(IDS[0]).max_episode_steps


@pytest.mark.parametrize(("given", "steps"), [({}, 500), ({"max_cycles": 7}, 7), ({"max_cycles": None}, None)])
def test_the_usual_loop_ends_at_the_limit_and_without_one_never(given, steps):
    cameras = parallel_env(**arguments(num_cameras=1, retrieval="none", collisions=False, tour=0, **given))
    cameras.reset(seed=0)
    taken = 0
    while cameras.agents and taken < 520:
        *_, truncations, _ = act(cameras, STAY)
        taken += 1
    assert (taken, truncations["camera_0"]) == ((520, False) if steps is None else (steps, True))


def test_the_panel_shows_every_camera_as_the_single_environment_shows_its_own():
    kwargs = {"render_mode": "rgb_array", "retrieval": "none"}  # the memory of one alone holds less
    cameras, single = make_cameras(num_cameras=3, **kwargs), make(**kwargs)
    cameras.reset(seed=0), single.reset(seed=0)
    for action in (TURN_LEFT, TURN_LEFT, STAY):
        parts = np.split(cameras.render(), 3, axis=1)
        np.testing.assert_array_equal(parts[0], single.render())
        assert all(not np.array_equal(parts[a], parts[b]) for a, b in ((0, 1), (1, 2), (0, 2)))
        act(cameras, action, FORWARD, TURN_RIGHT)
        single.step(action)
    silent = make_cameras()
    silent.reset(seed=0)
    with pytest.warns(UserWarning, match="without a render_mode"):
        assert silent.render() is None


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda cameras: pickle.loads(pickle.dumps(cameras))])
@pytest.mark.parametrize("face", FACES)
def test_a_copy_goes_on_where_the_cameras_stood(face, duplicate):
    cameras = make_cameras(face, task="explore", render_mode="rgb_array")
    cameras.reset(seed=0)
    act(cameras, FORWARD, TURN_LEFT)
    twin = duplicate(cameras)
    for _ in range(2):
        assert_equal_steps(act(cameras, TURN_LEFT, FORWARD), act(twin, TURN_LEFT, FORWARD))
    np.testing.assert_array_equal(cameras.render(), twin.render())
    assert_equal_steps(cameras.reset(), twin.reset())


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([1, 1], "actions is a list; expected a dict with the action of each agent"),
        (
            {"camera_0": 1, "camera_1": 1, "camera_2": 1},
            r"actions holds actions of \['camera_2'\]; .* No camera has moved",
        ),
        ({"camera_0": 1}, r"actions lacks those of \['camera_1'\]; expected one action for each of \['camera_0', 'c"),
        ({}, r"actions lacks those of \['camera_0', 'camera_1'\]"),
        (
            {"camera_0": 1, "camera_1": 9},
            r"camera_1: action=9 \(int\); expected one integer from 0 to 8: 0 stay.*No camera has moved",
        ),
        ({"camera_0": 1, "camera_1": None}, r"camera_1: action=.*No camera has moved"),
        ({"camera_0": [0.1, 0, 0, 0], "camera_1": 1}, r"camera_0: action=.*No camera has moved"),
        ({"camera_0": [[1], [1, 2]], "camera_1": 1}, r"camera_0: .*No camera has moved"),
    ],
)
def test_actions_that_are_refused_move_no_camera(actions, message):
    cameras, undisturbed = make_cameras(), make_cameras()
    for each in (cameras, undisturbed):
        each.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        cameras.step(actions)
    assert_equal_steps(act(cameras, FORWARD, TURN_LEFT), act(undisturbed, FORWARD, TURN_LEFT))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_cameras": 0}, "num_cameras=0 is out of range; expected an integer of at least 1"),
        ({"num_cameras": 1.5}, "num_cameras=1.5 is a float; expected an integer"),
        ({"max_cycles": 0}, "max_cycles=0 is out of range"),
        ({"task": "raom"}, "task='raom' is unknown. Did you mean 'roam'"),
        ({"render_mode": "ansi"}, "render_mode='ansi' is unknown"),
        ({"taks": "roam"}, r"kwargs key='taks' is unknown\. Did you mean 'task'\?"),
        ({"num_camera": 3}, r"kwargs key='num_camera' is unknown\. Did you mean 'num_cameras'\?"),
        ({"max_episode_steps": 9}, "kwargs has 'max_episode_steps', but it is max_cycles that limits .*; leave it out"),
        (
            {"tour": 5, "memory_capacity": 11},
            "tour=5 frames and the first frame of each of num_cameras=2 do not fit into memory_capacity=11; .* 12",
        ),
    ],
)
def test_bad_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_cameras(**kwargs)


def test_options_that_are_refused_leave_the_world_as_it_was():
    cameras, undisturbed = (make_cameras(memory_capacity=20) for _ in range(2))
    with pytest.raises(ResetNeeded, match="no world yet"):
        cameras.step({})
    for each in (cameras, undisturbed):
        each.reset(seed=0)
    for options, message in (
        ({"tour": 10}, "tour=10 frames and the first frame of each of num_cameras=2 do not fit .* at least 22"),
        ({"scene": -1}, r"options\['scene'\]=-1"),
        ({"scene": 5, "pose": (900, 0, 1.5, 0, 0, 0)}, r"options\['pose'\] stands at"),
        ([1], "options=.* is a list"),
    ):
        with pytest.raises(ValueError, match=message):
            cameras.reset(options=options)
    with pytest.raises(ValueError, match="seed=-1 is out of range"):
        cameras.reset(seed=-1)
    assert_equal_steps(act(cameras, FORWARD, TURN_LEFT), act(undisturbed, FORWARD, TURN_LEFT))
    assert_equal_steps(cameras.reset(), undisturbed.reset())  # and the randomness too
    with pytest.raises(ValueError, match=r"options\['image'\] was given, but a photograph has no true scene"):
        make_cameras(TrueSceneParallelEnv).reset(options={"image": PHOTO})


def test_an_unknown_option_is_ignored_with_a_warning_that_names_the_nearest():
    cameras = make_cameras()
    with pytest.warns(UserWarning, match=r"reset option='scen' is unknown. Did you mean 'scene'\?.* It is ignored"):
        observations, _ = cameras.reset(seed=0, options={"scen": 5, "scene": 7})
    np.testing.assert_array_equal(observations["camera_0"], make().reset(seed=0, options={"scene": 7})[0])


def test_each_camera_has_spaces_of_its_own_to_draw_from():
    cameras = make_cameras(num_cameras=2)
    for space in (cameras.action_space, cameras.observation_space):
        assert space("camera_0") is space("camera_0") and space("camera_0") is not space("camera_1")
        assert space("camera_0") == space("camera_1")


def test_ppo_of_stable_baselines_trains_through_supersuit():
    cameras = make_cameras(task="explore", max_cycles=6)
    cameras.reset(seed=0)  # the batch takes copies, with the randomness that follows
    batch = supersuit.pettingzoo_env_to_vec_env_v1(cameras)
    envs = supersuit.concat_vec_envs_v1(batch, 2, base_class="stable_baselines3")
    assert envs.num_envs == 2 * 2
    with torch.random.fork_rng(), pytest.warns(UserWarning, match="`render_mode` attribute"):  # which its batch lacks
        torch.manual_seed(0)
        agent = PPO("CnnPolicy", envs, n_steps=8, batch_size=16, n_epochs=1, device="cpu")
        before = [parameter.clone() for parameter in agent.policy.parameters()]
        agent.learn(2 * 8 * 4)
    assert agent.num_timesteps == 2 * 8 * 4
    assert any((old != new).any() for old, new in zip(before, agent.policy.parameters(), strict=True))
    rewards = agent.rollout_buffer.rewards.reshape(8, 2, 2)
    np.testing.assert_array_equal(rewards[..., 0], rewards[..., 1])  # of the two cameras of a world
    assert rewards.max() > 0


def test_without_pettingzoo_an_error_says_what_to_install():
    code = (
        "import sys, ctxmem_env; assert 'pettingzoo' not in sys.modules; sys.modules['pettingzoo'] = None\n"
        "try:\n    import ctxmem_env.parallel\nexcept ImportError as error:\n    print(error)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == (
        'ctxmem_env.parallel needs PettingZoo, which is not installed; run `pip install "ctxmem-env[pettingzoo]"`.\n'
    )


def test_the_module_has_the_names_that_pettingzoo_gives_its_environments():
    assert type(parallel_env(**arguments())) is GenerativeSceneParallelEnv
    aec = env(**arguments())
    assert aec.unwrapped.metadata["name"] == "ctxmem_scene_v0"
    assert isinstance(aec.action_space("camera_1"), gym.spaces.Discrete)
