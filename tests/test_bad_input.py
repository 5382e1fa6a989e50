"""Bad input gives one clear error, and the environment goes on as if nothing had happened."""

import re

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from PIL import Image

from ctxmem_env.env import GenerativeSceneEnv
from ctxmem_env.errors import unknown_name
from ctxmem_env.testing import PoseGenerator
from ctxmem_env.true_scene import TrueSceneEnv


def make(**kwargs):
    return GenerativeSceneEnv(**{"model": PoseGenerator(), "tour": 1, **kwargs})


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"task": "raom"}, "task='raom' is unknown. Did you mean 'roam'"),
        ({"retrieval": "fov_ray"}, "'fov_ray'.*[Dd]id you mean 'fov_rays'"),
        ({"actions": "discreet"}, "'discreet'.*[Dd]id you mean 'discrete'"),
        ({"observation": "rbg"}, "observation='rbg' is unknown. Did you mean 'rgb'"),
        ({"render_mode": "rgb"}, "render_mode='rgb' is unknown. Did you mean 'rgb_array'"),
        ({"model": 3}, "model=3 is a int; expected the name of a packaged model"),
        ({"num_context": 0}, "num_context=0 is out of range; expected an integer of at least 1"),
        ({"num_context": 2.0}, "num_context=2.0 is a float; expected an integer"),
        ({"memory_capacity": -4}, "memory_capacity=-4 is out of range"),
        ({"eviction": "covrage"}, "eviction='covrage' is unknown. Did you mean 'coverage'"),
        ({"eviction": None}, "eviction=None is unknown. Known: 'coverage', 'oldest', 'reservoir'"),
        ({"num_context": 9, "memory_capacity": 8}, "num_context=9 is larger than memory_capacity=8.*Lower"),
        ({"tour": 8, "memory_capacity": 8}, "tour=8 frames and the first frame do not fit.*at most 7"),
        ({"tour": -1}, "tour=-1 is out of range"),
        ({"num_steps": 0}, "num_steps=0 is out of range"),
        ({"step_length": -0.1}, "step_length=-0.1; expected metres"),
        ({"turn_angle": float("nan")}, "turn_angle=nan; expected degrees"),
        ({"fov": 180}, "fov=180; expected a horizontal field of view in degrees, from 10 to 150"),
        ({"fov": float("nan")}, "fov=nan"),
        ({"device": "gpu"}, "device='gpu' is not a torch device; expected 'auto', 'cpu' or 'cuda'"),
    ],
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make(**kwargs)


@pytest.mark.parametrize("size", [{"height": -1}, {"width": 0}, {"height": 64.0}])
def test_bad_frame_sizes_are_refused(size):
    (name,) = size
    with pytest.raises(ValueError, match=f"{name}=.*expected an integer in .8, 8192."):
        TrueSceneEnv(**size)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([("scene", 1)], "options=.* is a list; expected a dict"),
        ({"scenes": 1}, "reset option='scenes' is unknown. Did you mean 'scene'"),
        ({"scene": -1}, r"options\['scene'\]=-1 is out of range"),
        ({"scene": 1_500_000}, r"options\['scene'\]=1500000: .* in no split; expected .* train 0..999999"),
        ({"scene": 1.5}, r"options\['scene'\]=1.5 is a float"),
        ({"scene": True}, r"options\['scene'\]=True is a bool"),
        ({"scene": "no such style"}, r"options\['scene'\]='no such style' is unknown"),
        ({"scene": 1, "image": np.zeros((8, 8, 3), np.uint8)}, "'image' and 'scene' were both given"),
        ({"tour": 3, "image": np.zeros((8, 8, 3), np.uint8)}, "'image' and 'tour' were both given"),
        ({"tour": -2}, r"options\['tour'\]=-2 is out of range"),
        ({"tour": "many"}, r"options\['tour'\]='many' is a str"),
        ({"fov": 0}, r"options\['fov'\]=0; expected"),
        ({"fov": "wide"}, r"options\['fov'\]='wide'; expected"),
        ({"pose": (0, 0, 1.5)}, r"options\['pose'\] has shape \(3,\); expected six numbers"),
        ({"pose": "here"}, r"options\['pose'\]='here' is not numeric"),
        ({"pose": (0, 0, 1.5, float("nan"), 0, 0)}, r"options\['pose'\]=.* holds NaN or infinity"),
        ({"pose": (2e4, 0, 1.5, 0, 0, 0)}, r"options\['pose'\] lies 20000 m out; expected at most 10000 m"),
        ({"pose": (0, 0, 1.5, 0, 2.0, 0)}, r"options\['pose'\] has pitch 2.000 rad; expected at most 1.047"),
        ({"pose": (500, 500, 1.5, 0, 0, 0)}, r"options\['pose'\] stands at x=500.00, y=500.00.*choose a free"),
        ({"image": np.zeros((8, 8, 3), np.float32)}, "image has dtype float32; expected uint8"),
        ({"image": np.zeros((0, 8, 3), np.uint8)}, r"image has shape \(0, 8, 3\).*not empty"),
        ({"image": np.zeros((8, 8), np.uint8)}, r"image has shape \(8, 8\); expected \(height, width, 3\)"),
        ({"image": np.zeros((3, 8, 8), np.uint8)}, r"image has shape \(3, 8, 8\)"),
        ({"image": Image.new("RGB", (0, 5))}, "image is empty, 0 x 5 pixels"),
        ({"image": 7}, "image is a int; expected a path"),
        ({"scene": 1, "distance": 3.0}, r"options\['distance'\] was given without 'image'"),
        (
            {"image": np.zeros((8, 8, 3), np.uint8), "distance": 0},
            r"options\['distance'\]=0; expected metres, from 0.1",
        ),
        ({"image": np.zeros((8, 8, 3), np.uint8), "distance": "far"}, r"options\['distance'\]='far'; expected metres"),
        ({"image": "/no/such/photo.png"}, "image='/no/such/photo.png' does not exist"),
    ],
)
def test_bad_options_are_refused_and_the_episode_goes_on(options, message):
    env, undisturbed = make(), make()
    env.reset(seed=0), undisturbed.reset(seed=0)
    for seed in (None, 5):
        with pytest.raises(ValueError, match=message):
            env.reset(seed=seed, options=options)
    for action in (1, 5):
        np.testing.assert_array_equal(env.step(action)[0], undisturbed.step(action)[0])
    assert env.unwrapped.np_random_seed == 0
    np.testing.assert_array_equal(env.reset()[0], undisturbed.reset()[0])


@pytest.mark.parametrize("depth", [torch.full((1, 48, 48), torch.nan), torch.ones(1, 24, 24)], ids=["NaN", "too small"])
def test_depth_that_is_none_is_refused_and_the_task_goes_on(depth, monkeypatch):
    env, undisturbed = make(task="point_goal"), make(task="point_goal")
    env.reset(seed=0), undisturbed.reset(seed=0)
    monkeypatch.setattr(PoseGenerator, "estimate_depth", lambda *_: depth)
    with pytest.raises(ValueError, match=r"estimate_depth of the generator gave shape .*; expected finite metres of"):
        env.reset(options={"image": np.zeros((48, 48, 3), np.uint8)})
    np.testing.assert_equal(env.step(1), undisturbed.step(1))


def test_image_files_that_are_none_are_refused(tmp_path):
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.png").write_bytes(b"")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / "cut.png")
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    env = make()
    for name in ("text.png", "empty.png", "cut.png", "."):
        with pytest.raises(ValueError, match="is not an image file that can be read"):
            env.reset(options={"image": tmp_path / name})
    env.reset(seed=0)


def test_a_tour_that_exceeds_the_capacity_is_refused():
    env = make(memory_capacity=10)
    with pytest.raises(ValueError, match="tour=10 frames and the first frame do not fit"):
        env.reset(options={"tour": 10})
    env.reset(options={"tour": 9})


def test_the_true_scene_refuses_a_photograph():
    env = TrueSceneEnv(48, 48)
    with pytest.raises(ValueError, match="no true scene behind it"):
        env.reset(options={"image": np.zeros((8, 8, 3), np.uint8)})


@pytest.mark.parametrize(
    ("actions", "bad"),
    [
        ("discrete", [9, -1, 1.5, float("nan"), "left", None, [1, 2]]),
        ("continuous", [[0, 0, 0], [0, 0, 0, 1.01], [0, np.nan, 0, 0], [np.inf, 0, 0, 0], 3, "ahead"]),
    ],
)
def test_bad_actions_are_refused_and_change_nothing(actions, bad):
    good = 1 if actions == "discrete" else np.array([1, 0, 0.5, 0], np.float32)
    env, undisturbed = make(actions=actions), make(actions=actions)
    env.reset(seed=0), undisturbed.reset(seed=0)
    for action in bad:
        with pytest.raises(ValueError, match=r"action=.*expected"):
            env.step(action)
        np.testing.assert_array_equal(env.step(good)[0], undisturbed.step(good)[0])


@pytest.mark.parametrize(
    ("actions", "action", "message"),
    [
        ("discrete", np.array([1]), "[1] (int64, shape (1,)); {}. Pass the integer alone, action.item()."),
        ("discrete", torch.tensor([[8]]), "[[8]] (int64, shape (1, 1)); {}. Pass the integer alone, action.item()."),
        ("discrete", np.array([9]), "[9] (int64, shape (1,)); {}."),
        ("discrete", np.zeros(3), "[0., 0., 0.] (float64, shape (3,)); {}."),
        ("discrete", np.float32(1), "1. (float32, shape ()); {}."),
        ("discrete", 1.5, "1.5 (float); {}."),
        ("discrete", "left", "'left' (str); {}."),
        ("discrete", [1, 2], "[1, 2] (list); {}."),
        ("continuous", np.zeros(3), "[0., 0., 0.] (float64, shape (3,)); {}."),
        ("continuous", 3, "3 (int); {}."),
        ("keyboard_mouse", {"keys": 1, "mouse": np.zeros(2)}, "{{'keys': '1 (int)', 'mouse': '[0., 0.] (float64, sh"),
        ("keyboard_mouse", 3, "3 (int); {}."),
    ],
)
def test_an_action_is_told_as_it_was_given(actions, action, message):
    expected = {
        "discrete": "expected one integer from 0 to 8: 0 stay, 1 forward, 2 back, 3 strafe_left, 4 strafe_right, "
        "5 turn_left, 6 turn_right, 7 look_up, 8 look_down",
        "continuous": "expected four finite numbers in [-1, 1], dx, dy, dyaw, dpitch; clip them, and set the scale "
        "with step_length and turn_angle",
        "keyboard_mouse": "expected 'keys', three integers, ws from 0 to 2, ad from 0 to 2 and scs from 0 to 3, and "
        "'mouse', two finite numbers in [-1, 1], pitch_delta and yaw_delta",
    }
    env = make(actions=actions)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=re.escape("action=" + message.format(expected[actions]))):
        env.step(action)


def test_step_and_render_before_reset_are_refused():
    env = make(render_mode="rgb_array")
    for call in (lambda: env.step(0), env.render, lambda: env.world):
        with pytest.raises(ResetNeeded, match="call reset"):
            call()
    env.reset(seed=0)
    env.step(0)


def test_render_without_a_mode_warns_and_draws_nothing():
    env = make()
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="without a render_mode"):
        assert env.render() is None


def test_a_generator_that_fails_once_leaves_the_world_as_it_was(monkeypatch):
    env, undisturbed = make(), make()
    env.reset(seed=0), undisturbed.reset(seed=0)

    def fail(*args):
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(env.world.generator, "generate", fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            env.step(1)
    np.testing.assert_array_equal(env.step(1)[0], undisturbed.step(1)[0])


def test_an_unknown_model_is_refused_when_the_environment_is_made():
    with pytest.raises(ValueError, match=r"model='nanno' is unknown\."):
        gym.make("CtxMemScene-v0", model="nanno")


def test_a_class_in_place_of_a_generator_is_refused_when_the_environment_is_made():
    class Sized(PoseGenerator):
        height = width = 48

    for kind in (PoseGenerator, Sized):
        name = kind.__name__
        with pytest.raises(ValueError, match=rf"model={name} is a class; expected .*Pass an instance, {name}\(\)\."):
            gym.make("CtxMemScene-v0", model=kind)


def test_the_nearest_name_is_only_offered_when_it_is_near():
    assert str(unknown_name("task", "xyz", ["roam"])) == "task='xyz' is unknown. Known: 'roam'."
