"""Films show the true scene beside the generated world, which sees nothing of it."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import RecordVideo
from helpers import FORWARD, TURN_LEFT

from ctxmem_env.episodes import RecordEpisode
from ctxmem_env.filming import Filmed

WALK = [FORWARD, TURN_LEFT, FORWARD, TURN_LEFT]
VIEW, TRUTH = (slice(34, 418), slice(16, 400)), (slice(34, 418), slice(416, 800))


@pytest.fixture
def filmed(untrained_model):
    def make(env_id="CtxMemScene-v0", layout="panel", truth=True, **kwargs):
        model = {"model": str(untrained_model)} if env_id == "CtxMemScene-v0" else {"height": 48, "width": 48}
        return Filmed(gym.make(env_id, render_mode="rgb_array", **model, **kwargs), layout, truth)

    return make


@pytest.mark.parametrize("options", [None, {"scene": 3}, {"scene": "library", "tour": 2, "fov": 70.0}])
def test_the_true_frame_is_what_the_true_scene_shows_from_the_same_pose(filmed, options):
    env, true = filmed(collisions=False), filmed("CtxMemTrueScene-v0", collisions=False)
    for one in (env, true):
        one.reset(seed=4, options=options)
    for action in WALK:
        for one in (env, true):
            one.step(action)
        np.testing.assert_array_equal(env.render()[TRUTH], true.render()[VIEW])


def test_the_generated_world_sees_nothing_of_it(filmed):
    def walk(env):
        frames = [env.reset(seed=1)[0]]
        for action in WALK:
            env.render()
            frames.append(env.step(action)[0])
        env.reset()  # another world, from the numbers that follow
        return np.stack([*frames, env.step(FORWARD)[0]])

    np.testing.assert_array_equal(walk(filmed()), walk(filmed().env))


def test_worlds_after_the_first_are_found_too(filmed):
    env, true = filmed(collisions=False), filmed("CtxMemTrueScene-v0", collisions=False)
    env.reset(seed=2), true.reset(seed=2)
    env.reset(), true.reset()
    np.testing.assert_array_equal(env.render()[TRUTH], true.render()[VIEW])


def test_where_a_wrapper_below_chooses_the_seed_the_scene_is_that_of_its_choice(filmed):
    env = Filmed(RecordEpisode(filmed().env))
    env.reset(seed=2)
    env.reset()
    env.render()
    assert env.likeness[0] > 40  # the first frame is a true one


class Choosing(gym.Wrapper):
    """Opens the same world at every reset."""

    def reset(self, *, seed=None, options=None):
        return self.env.reset(seed=7, options={"scene": 7})


def test_where_a_wrapper_below_chooses_the_world_it_is_that_which_is_shown(filmed):
    env = Filmed(Choosing(filmed().env))
    for _ in range(3):
        env.reset()
        env.render()
        assert env.likeness[0] > 40


def test_the_scene_of_a_moment_comes_back_with_it(filmed):
    env = filmed()
    env.reset(seed=2)
    moment = env.unwrapped.clone_state()
    env.reset(seed=3)
    env.unwrapped.restore_state(moment)
    env.render()
    assert env.likeness[0] > 40


def test_where_there_is_no_true_scene_none_is_shown(filmed):
    env, true = filmed(), filmed("CtxMemTrueScene-v0")
    env.reset(seed=0, options={"image": np.zeros((48, 48, 3), np.uint8)})
    true.reset(seed=0)
    without = filmed(truth=False)
    without.reset(seed=0)
    assert env.render().shape == true.render().shape == without.render().shape
    assert env.likeness == without.likeness == []
    env.reset(seed=0)
    assert env.render().shape[1] == without.render().shape[1] + 400


def test_a_goal_of_its_own_does_not_keep_the_true_scene_away(filmed):
    env, true = filmed(task="point_goal", collisions=False), filmed("CtxMemTrueScene-v0", collisions=False)
    start = env.reset(seed=4)[1]["pose"]
    env.reset(seed=4, options={"goal": start[:2].tolist()}), true.reset(seed=4)
    np.testing.assert_array_equal(env.render()[TRUTH], true.render()[VIEW])


def test_likeness_is_that_of_the_pictures_since_reset(filmed):
    env = filmed()
    env.reset(seed=0)
    env.render()
    assert len(env.likeness) == 1 and env.likeness[0] > 40  # the first frame is a true one
    env.step(FORWARD)
    env.render()
    assert env.likeness[1] < env.likeness[0]
    env.reset(seed=0)
    assert env.likeness == []


def test_the_plain_layout_is_the_frame_alone(filmed):
    env = filmed(layout="plain")
    observation, _ = env.reset(seed=0)
    picture = np.asarray(env.render())
    assert picture.shape == (384, 384, 3)
    assert np.abs(picture[4::8, 4::8].astype(int) - observation).mean() < 12


@pytest.mark.filterwarnings("ignore:.*Overwriting existing videos.*")
def test_record_video_writes_it(filmed, tmp_path):
    env = RecordVideo(filmed(), str(tmp_path), disable_logger=True)
    env.reset(seed=0)
    env.step(FORWARD)
    env.close()
    assert [path.suffix for path in tmp_path.iterdir()] == [".mp4"]


def test_what_cannot_be_filmed_is_refused(filmed):
    with pytest.raises(ValueError, match=r"layout='pannel' is unknown\. Did you mean 'panel'"):
        filmed(layout="pannel")
    with pytest.raises(ValueError, match="render_mode=None; films are made of pictures"):
        Filmed(gym.make("CtxMemTrueScene-v0"))
