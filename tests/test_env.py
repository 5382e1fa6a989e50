"""What the environment shows and says, read back from the pixels of a generator that writes down its orders."""

import sys

import numpy as np
import pytest
import torch
from gymnasium.wrappers import TimeLimit
from helpers import FORWARD, IDS, TURN_LEFT, TURN_RIGHT, make, walk
from PIL import Image

from ctxmem_env.scenes import STYLES, build_scene, render, stack_scenes
from ctxmem_env.testing import PoseGenerator


@pytest.mark.parametrize("env_id", IDS)
def test_same_seed_and_actions_give_the_same_frames(env_id):
    actions = [FORWARD, TURN_LEFT, FORWARD, 7]
    first, second = walk(make(env_id), actions, seed=7), walk(make(env_id), actions, seed=7)
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first[0], walk(make(env_id), actions, seed=8)[0])


def test_randomness_of_the_painter_comes_from_the_seed_alone():
    env = make()

    def noise(seed, scene):
        return PoseGenerator.read(walk(env, [FORWARD], seed, scene=scene)[1]).noise

    assert noise(1, scene=3) == noise(1, scene=4)
    assert noise(1, scene=3) != noise(2, scene=3)


def test_the_world_is_painted_without_the_renderer(monkeypatch):
    env = make()
    env.reset(seed=0)

    def refuse(*args, **kwargs):
        raise AssertionError("the scenes were asked during step")

    patched = 0
    for name, module in list(sys.modules.items()):
        if name == "ctxmem_env.scenes" or name.startswith("ctxmem_env.scenes."):
            for attribute, value in list(vars(module).items()):
                if callable(value) and getattr(value, "__module__", "").startswith("ctxmem_env.scenes"):
                    for user in [m for n, m in sys.modules.items() if n.startswith("ctxmem_env")]:
                        if getattr(user, attribute, None) is value:
                            monkeypatch.setattr(user, attribute, refuse)
                            patched += 1
    assert patched > 5
    for action in range(9):
        env.step(action)
    with pytest.raises(AssertionError, match="asked during step"):
        env.reset(seed=0)


def test_the_true_scene_shows_what_the_renderer_shows():
    env = make("CtxMemTrueScene-v0", observation="dict")
    env.reset(seed=0, options={"scene": 5})
    for action in (FORWARD, TURN_LEFT, 8):
        observation, *_ = env.step(action)
        pose = torch.from_numpy(observation["pose"])[None, None]
        frames, depth = render(stack_scenes([build_scene(5)]), pose, 90.0, 48, 48)
        np.testing.assert_array_equal(observation["rgb"], frames[0, 0].numpy())
        np.testing.assert_allclose(observation["depth"][..., 0], depth[0, 0].clamp(0, 100).numpy())


def test_both_worlds_start_from_the_same_frame_and_move_alike():
    generated, true = (make(env_id, observation="dict") for env_id in IDS)
    first, second = (env.reset(seed=3, options={"scene": 11})[0] for env in (generated, true))
    np.testing.assert_array_equal(first["rgb"], second["rgb"])
    for action in (FORWARD, TURN_RIGHT, FORWARD):
        a, b = (env.step(action)[0] for env in (generated, true))
        np.testing.assert_array_equal(a["pose"], b["pose"])


@pytest.mark.parametrize("tour", [0, 5])
def test_tour_frames_and_the_first_frame_are_remembered(tour):
    env = make()
    observation, info = env.reset(seed=0, options={"tour": tour})
    memory = env.unwrapped.world.memory
    assert memory.lengths.tolist() == [tour + 1]
    entries = memory.gather(memory.lengths[:, None] - 1)
    np.testing.assert_array_equal(entries.frames[0, 0].numpy(), observation)
    np.testing.assert_array_equal(entries.poses[0, 0].numpy(), info["pose"])


def test_a_photograph_becomes_the_first_frame_with_its_middle_uncut(tmp_path):
    photo = np.zeros((60, 200, 3), np.uint8)
    photo[:, 70:130] = (10, 200, 30)  # the central square
    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)
    for image in (path, str(path), photo, Image.fromarray(photo), np.dstack([photo, photo[..., 0]])):
        env = make()
        observation, info = env.reset(seed=0, options={"image": image})
        assert observation.shape == (48, 48, 3)
        np.testing.assert_array_equal(observation, np.broadcast_to([10, 200, 30], (48, 48, 3)))
        np.testing.assert_allclose(info["pose"], [0, 0, 1.5, 0, 0, 0])
        painted = PoseGenerator.read(env.step(FORWARD)[0])
        np.testing.assert_allclose(painted.pose, [0.25, 0, 1.5, 0, 0, 0], atol=1e-6)
        np.testing.assert_allclose(painted.context_poses[0], [0, 0, 1.5, 0, 0, 0])
        assert len(painted.context_poses) == 3  # what the picture shows to the left and the right is remembered


def test_a_large_photograph_is_shrunk_without_aliasing():
    stripes = np.zeros((480, 480, 3), np.uint8)
    stripes[:, ::2] = 255
    observation, _ = make().reset(options={"image": stripes})
    assert np.abs(observation.astype(int) - 127).max() < 10


def test_fov_and_pose_can_be_given_for_one_episode():
    env = make(fov=70.0)
    pose = (0.0, 0.0, 1.2, 4.0, 0.1, 0.0)
    image = np.zeros((9, 9, 3), np.uint8)
    _, info = env.reset(options={"image": image, "fov": 50, "pose": pose})
    np.testing.assert_allclose(info["pose"], [0, 0, 1.2, 4.0 - 2 * np.pi, 0.1, 0], atol=1e-6)
    assert PoseGenerator.read(env.step(0)[0]).fov == pytest.approx(50)
    env.reset(seed=0)
    assert PoseGenerator.read(env.step(0)[0]).fov == pytest.approx(70)


def test_distance_sets_the_scale_of_a_photograph():
    photo = np.zeros((9, 9, 3), np.uint8)
    env = make(observation="dict")
    estimated = env.reset(options={"image": photo})[0]["depth"]
    scaled = env.reset(options={"image": photo, "distance": 12.0})[0]["depth"]
    np.testing.assert_allclose(scaled, 12.0 * estimated / np.median(estimated), rtol=2e-3)


def test_a_scene_can_be_named_by_style():
    env = make("CtxMemTrueScene-v0")
    style = sorted(STYLES)[0]
    first, second = (env.reset(seed=seed, options={"scene": style})[0] for seed in (1, 2))
    assert not np.array_equal(first, second)


def test_retrieved_frames_in_info_are_those_that_the_generator_got():
    env = make()
    poses = [env.reset(seed=0, options={"tour": 0})[1]["pose"]]
    for action in (FORWARD, TURN_LEFT, TURN_RIGHT, FORWARD, 0):
        observation, *_, info = env.step(action)
        used = info["retrieved"][info["retrieved"] >= 0]
        np.testing.assert_array_equal(PoseGenerator.read(observation).context_poses, np.stack(poses)[used])
        assert used[0] == len(poses) - 1  # the newest frame is the anchor
        assert ((info["overlap"] >= 0) & (info["overlap"] <= 1)).all()
        poses.append(info["pose"])


def test_info_is_numpy_and_the_same_for_every_step():
    env = make()
    _, first = env.reset(seed=0)
    info = env.step(FORWARD)[-1]
    assert info.keys() == first.keys() == {"pose", "retrieved", "overlap", "collision"}
    assert type(first.pop("collision")) is type(info.pop("collision")) is bool
    for name in info:
        assert type(info[name]) is np.ndarray
        assert info[name].dtype == first[name].dtype and info[name].shape == first[name].shape


def test_writing_to_an_observation_changes_nothing():
    actions = [FORWARD, TURN_LEFT, FORWARD]
    expected = walk(make(observation="dict"), actions)
    env = make(observation="dict")
    for action, wanted in zip([None, *actions], expected, strict=True):
        observation, info = env.reset(seed=0) if action is None else env.step(action)[::4]
        for name in wanted:
            np.testing.assert_array_equal(observation[name], wanted[name])
        info.pop("collision")  # a bool
        for array in (*observation.values(), *info.values()):
            array[...] = 0


def test_two_environments_share_no_state():
    for kwargs in ({"model": PoseGenerator()}, {}):
        env_id = IDS[0] if kwargs else IDS[1]
        one, other = make(env_id, **kwargs), make(env_id, **kwargs)
        one.reset(seed=0, options={"scene": 1})
        other.reset(seed=1, options={"scene": 2})
        mixed = []
        for action in (FORWARD, TURN_LEFT, FORWARD):
            mixed.append(one.step(action)[0])
            other.step(TURN_RIGHT)
        alone = make(env_id, **kwargs)
        np.testing.assert_array_equal(mixed, walk(alone, [FORWARD, TURN_LEFT, FORWARD], scene=1)[1:])


def test_roam_gives_no_reward_and_ends_only_at_the_time_limit():
    env = TimeLimit(make().unwrapped, max_episode_steps=5)
    env.reset(seed=0)
    ends = [env.step(action % 9)[1:4] for action in range(5)]
    assert ends == [(0.0, False, False)] * 4 + [(0.0, False, True)]
    assert make().spec.max_episode_steps == 500


def test_human_rendering_shows_every_step_and_closes(monkeypatch):
    import pygame

    shown = []
    env = make(render_mode="human")
    monkeypatch.setitem(env.unwrapped.metadata, "render_fps", 1000)
    monkeypatch.setattr(pygame.display, "flip", lambda: shown.append(pygame.display.get_surface().get_size()))
    env.reset(seed=0)
    env.step(FORWARD)
    assert len(shown) == 2 and shown[0] == shown[1]
    assert env.render() is None
    env.close()
    assert not pygame.display.get_init()
    env.close()


def test_the_panel_has_one_even_size_throughout_an_episode():
    env = make(render_mode="rgb_array", num_context=12, retrieval="recent")
    env.reset(seed=0, options={"tour": 0})
    sizes = {env.render().shape}
    for _ in range(14):
        env.step(TURN_LEFT)
        sizes.add(env.render().shape)
    (size,) = sizes
    assert size[0] % 2 == 0 and size[1] % 2 == 0


def test_the_seed_has_exact_depth_or_the_models_estimate():
    def first_depth(env):
        return env.reset(seed=0, options={"scene": 5})[0]["depth"]

    exact = first_depth(make("CtxMemTrueScene-v0", observation="rgbd"))
    np.testing.assert_array_equal(first_depth(make(observation="rgbd")), exact)
    estimate = first_depth(make(observation="rgbd", seed_depth="estimated"))
    assert (estimate == 3).all() and not (exact == 3).all()
    with pytest.raises(ValueError, match=r"seed_depth='estimate' is unknown\. Did you mean 'estimated'"):
        make(seed_depth="estimate")
