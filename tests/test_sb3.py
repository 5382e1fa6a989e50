"""The batch as Stable-Baselines3 takes it, against the same worlds one by one in a DummyVecEnv."""

import csv
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from helpers import FORWARD, IDS, TURN_LEFT, Escape
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecFrameStack, VecMonitor, VecTransposeImage, VecVideoRecorder

from ctxmem_env.sb3 import SceneVecEnv, make_sb3_vec_env
from ctxmem_env.tasks import TASKS
from ctxmem_env.testing import PoseGenerator

N = 3


def arguments(env_id=IDS[0], **kwargs):
    small = {"model": PoseGenerator()} if env_id == IDS[0] else {"height": 48, "width": 48}
    return {"tour": 1, **small, **kwargs}


def make(env_id=IDS[0], seed=0, **kwargs):
    return make_sb3_vec_env(env_id, N, seed, env_kwargs=arguments(env_id, **kwargs))


@pytest.mark.parametrize("observation", ["rgb", "dict"])
def test_worlds_go_the_way_of_those_that_make_vec_env_makes(monkeypatch, observation):
    monkeypatch.setitem(TASKS, "escape", Escape)
    kwargs = {"task": "escape", "observation": observation}
    batch = make(seed=4, max_episode_steps=4, **kwargs)
    single = make_vec_env(IDS[0], N, 4, env_kwargs=arguments(max_episode_steps=4, **kwargs))
    assert batch.observation_space == single.observation_space and batch.action_space == single.action_space
    np.testing.assert_equal(batch.reset(), single.reset())
    rng, limits = np.random.default_rng(0), []
    for _ in range(12):
        actions = rng.integers(0, 9, N)
        (*step, infos), (*wanted, others) = batch.step(actions), single.step(actions)
        np.testing.assert_equal(step, wanted)
        assert step[1].dtype == np.float32 and step[2].dtype == bool
        for info, other in zip(infos, others, strict=True):
            assert info.keys() == other.keys()
            for name in info.keys() - {"episode"}:
                np.testing.assert_equal(info[name], other[name])
            if "episode" in info:
                limits.append(info["TimeLimit.truncated"])
                assert info["episode"]["l"] == other["episode"]["l"]
                assert info["episode"]["r"] == pytest.approx(other["episode"]["r"], abs=1e-4)
        np.testing.assert_equal(batch.unwrapped.reset_infos, single.reset_infos)
        np.testing.assert_equal(batch.reset_infos, single.reset_infos)
    assert set(limits) == {False, True}


def test_seeds_and_options_hold_for_one_reset():
    batch, single = make(IDS[1]), make_vec_env(IDS[1], N, 0, env_kwargs=arguments(IDS[1]))
    for envs in (batch, single):
        envs.reset()
    for options in ({"scene": 5}, [{"scene": 5}, {"tour": 0}, {}]):
        for envs in (batch, single):
            envs.set_options(options)
            envs.seed(9)
        np.testing.assert_array_equal(batch.reset(), single.reset())
        np.testing.assert_array_equal(batch.reset(), single.reset())


def test_wrappers_for_frames_work():
    plain, stacked = make(max_episode_steps=3), VecTransposeImage(VecFrameStack(make(max_episode_steps=3), 2))
    first = plain.reset()
    observation = stacked.reset()
    assert stacked.observation_space.shape == (6, 48, 48)
    np.testing.assert_array_equal(observation[:, 3:], first.transpose(0, 3, 1, 2))
    for action in (FORWARD, TURN_LEFT, FORWARD):
        single, (observation, _, dones, infos) = plain.step([action] * N), stacked.step([action] * N)
        np.testing.assert_array_equal(observation[:, 3:], single[0].transpose(0, 3, 1, 2))
    assert dones.all()
    last = single[3][0]["terminal_observation"].transpose(2, 0, 1)
    np.testing.assert_array_equal(infos[0]["terminal_observation"][3:], last)


def test_videos_show_all_worlds(tmp_path, capsys):
    envs = VecVideoRecorder(make(), str(tmp_path), lambda step: step == 0, video_length=4)
    assert envs.frames_per_sec == 12
    envs.reset()
    for _ in range(5):
        envs.step([FORWARD] * N)
    envs.close()
    (video,) = tmp_path.glob("*.mp4")
    assert video.stat().st_size > 1000
    panels = envs.unwrapped.get_images()
    assert len(panels) == N and not np.array_equal(panels[0], panels[1])
    assert envs.render().shape == (2 * panels[0].shape[0], 2 * panels[0].shape[1], 3)  # tiled two by two


def test_episodes_are_logged(tmp_path):
    envs = make_sb3_vec_env(n_envs=N, monitor_dir=str(tmp_path / "log"), env_kwargs=arguments(max_episode_steps=3))
    envs.reset()
    for _ in range(6):
        envs.step([FORWARD] * N)
    envs.close()
    comment, *rows = (tmp_path / "log" / "monitor.csv").read_text().splitlines()
    assert IDS[0] in comment
    assert [row["l"] for row in csv.DictReader(rows)] == ["3"] * 2 * N
    again = VecMonitor(make(max_episode_steps=2))  # around the first one, and without a warning
    again.reset()
    again.step([0] * N)
    assert [info["episode"]["l"] for info in again.step([0] * N)[3]] == [2] * N


@pytest.mark.parametrize("observation", ["rgb", "dict"])
def test_ppo_learns_a_few_steps(observation):
    policy = "CnnPolicy" if observation == "rgb" else "MultiInputPolicy"
    envs = make(max_episode_steps=5, observation=observation)
    agent = PPO(policy, envs, n_steps=8, batch_size=12, n_epochs=1, seed=0, device="cpu")
    before = [parameter.clone() for parameter in agent.policy.parameters()]
    agent.learn(2 * 8 * N)
    assert agent.num_timesteps == 2 * 8 * N
    assert any((old != new).any() for old, new in zip(before, agent.policy.parameters(), strict=True))
    assert {episode["l"] for episode in agent.ep_info_buffer} == {5}
    evaluate_policy(agent, envs, n_eval_episodes=2)


def test_attributes_are_those_of_single_worlds():
    batch, single = make(seed=4), make_vec_env(IDS[0], N, 4, env_kwargs=arguments())
    for envs in (batch, single):
        envs.reset()
    for indices in (None, 1, [2, 0], [-1]):
        for name in ("action_space", "observation_space", "np_random_seed", "render_mode"):
            assert batch.get_attr(name, indices) == single.get_attr(name, indices)
        drawn, wanted = (
            [random.bit_generator.state for random in envs.get_attr("np_random", indices)] for envs in (batch, single)
        )
        assert drawn == wanted
    assert batch.get_attr("settings", indices=[0, 2])[1].tour == 1
    for name in ("num_envs", "no_such_attribute"):
        assert not batch.has_attr(name) and not single.has_attr(name)
    for ask in (lambda: batch.get_attr("render_mode", [0, N]), lambda: batch.env_is_wrapped(gym.Wrapper, -N - 1)):
        with pytest.raises(IndexError, match="expected worlds from 0 to 2"):
            ask()


def test_what_worlds_of_a_batch_cannot_do_says_where_it_is_done():
    envs = make()
    with pytest.raises(NotImplementedError, match=r"'tour' cannot be set.* give it in env_kwargs of make_sb3_vec_env"):
        envs.set_attr("tour", 3)
    with pytest.raises(
        NotImplementedError, match=r"'clone_state' cannot be called.* `vec_env\.unwrapped\.envs\.unwrap"
    ):
        envs.env_method("clone_state")
    first = envs.reset()
    batch = envs.unwrapped.envs.unwrapped
    state = batch.clone_state()
    envs.step([FORWARD] * N)
    np.testing.assert_array_equal(batch.restore_state(state)[0], first)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"env_id": "CartPole-v1"}, "env_id='CartPole-v1' is unknown.* Known: 'CtxMemScene-v0', 'CtxMemTrueScene-v0'"),
        ({"n_envs": 0}, "n_envs=0 is out of range; expected an integer of at least 1"),
        ({"seed": -1}, "seed=-1 is out of range"),
        ({"env_kwargs": {"foo": 1}}, "env_kwargs key='foo' is unknown"),
        ({"env_kwargs": {"taks": "roam"}}, r"env_kwargs key='taks' is unknown\. Did you mean 'task'\?"),
        ({"env_kwargs": {"array": "torch"}}, "env_kwargs has 'array', but .* NumPy arrays; leave it out"),
        ({"env_kwargs": {"autoreset_mode": AutoresetMode.DISABLED}}, "env_kwargs has 'autoreset_mode', but"),
        ({"env_kwargs": {"num_envs": 2}}, "env_kwargs has 'num_envs', but n_envs says"),
        ({"env_kwargs": [("tour", 1)]}, "env_kwargs=.* is a list; expected a dict or None"),
        ({"monitor_kwargs": {"filename": "a"}}, "monitor_kwargs has 'filename', but monitor_dir says"),
        (
            {"monitor_kwargs": {"keywords": ()}},
            r"monitor_kwargs key='keywords' is unknown\. Did you mean 'info_keywords'",
        ),
    ],
)
def test_an_argument_that_does_not_fit_gets_one_clear_error(bad, message):
    with pytest.raises(ValueError, match=message):
        make_sb3_vec_env(**{"n_envs": N, "env_kwargs": arguments()} | bad)


def test_every_argument_of_the_worlds_is_taken():
    names = {"max_episode_steps": 5, "task": "explore", "num_context": 4}
    for env_id in IDS[:2]:
        assert make(env_id, **names).get_attr("settings")[0].num_context == 4
    monitored = make_sb3_vec_env(n_envs=N, env_kwargs=arguments(), monitor_kwargs={"info_keywords": ("success",)})
    assert monitored.info_keywords == ("success",)


def test_bad_input_is_refused_and_the_worlds_go_on():
    with pytest.raises(ValueError, match=r"autoreset_mode=AutoresetMode.NEXT_STEP; expected SAME_STEP"):
        SceneVecEnv(gym.make_vec(IDS[0], N, **arguments()))
    envs, undisturbed = make(), make()
    for each in (envs, undisturbed):
        each.reset()
    with pytest.raises(ValueError, match=r"world 1: action=\[9\]"):
        envs.step(np.array([1, 9, 1]))
    np.testing.assert_array_equal(envs.step([1] * N)[0], undisturbed.step([1] * N)[0])


def test_without_stable_baselines_an_error_says_what_to_install():
    code = (
        "import sys; sys.modules['stable_baselines3'] = None\n"
        "try:\n    import ctxmem_env.sb3\nexcept ImportError as error:\n    print(error)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == (
        'ctxmem_env.sb3 needs Stable-Baselines3, which is not installed; run `pip install "ctxmem-env[agents]"`.\n'
    )


def test_an_id_of_ones_own_over_the_same_batch_is_taken():
    entry = gym.spec("CtxMemTrueScene-v0").vector_entry_point
    gym.register("SmallTrueScene-v0", vector_entry_point=entry, kwargs={"height": 16, "width": 16, "tour": 0})
    try:
        vec_env = make_sb3_vec_env("SmallTrueScene-v0", n_envs=2, seed=0)
        assert vec_env.reset().shape == (2, 16, 16, 3)
    finally:
        del gym.registry["SmallTrueScene-v0"]
