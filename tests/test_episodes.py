"""Episodes come back from small files, to the bit."""

import json

import gymnasium as gym
import numpy as np
import pytest
from helpers import FORWARD, TURN_LEFT

from ctxmem_env.episodes import RecordEpisode, load_episode, open_episode, replay

WALK = [FORWARD, TURN_LEFT, FORWARD, TURN_LEFT, FORWARD]


@pytest.fixture
def recorded(untrained_model):
    """A walk that was recorded: its frames and its episode."""

    def walk(actions=WALK, seed=3, options=None, env_id="CtxMemScene-v0", **kwargs):
        model = {} if env_id == "CtxMemTrueScene-v0" else {"model": str(untrained_model)}
        env = RecordEpisode(gym.make(env_id, **model, **kwargs))
        observations = [env.reset(seed=seed, options=options)[0]]
        observations += [env.step(action)[0] for action in actions]
        return observations, env.episode()

    return walk


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    return np.array_equal(one, other)


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"options": {"scene": "library", "tour": 2}, "retrieval": "random", "num_context": 3},
        {"env_id": "CtxMemTrueScene-v0", "observation": "rgbd"},
        {"task": "point_goal", "observation": "dict", "reward": "sparse"},
        {"actions": [np.float32([0.3, -0.7, 1, 0.1])] * 4, "make": {"actions": "continuous"}},
        {
            "actions": [{"keys": np.array([1, 0, 0]), "mouse": np.float32([0.3, -0.1])}] * 3,
            "make": {"actions": "keyboard_mouse"},
        },
    ],
    ids=["plain", "options", "true", "task", "continuous", "keyboard_mouse"],
)
def test_a_replay_shows_the_same_to_the_bit(recorded, tmp_path, kwargs):
    kwargs = dict(kwargs)
    actions, make = kwargs.pop("actions", WALK), kwargs.pop("make", {})
    if make:
        env = RecordEpisode(gym.make("CtxMemTrueScene-v0", **make))
        observations = [env.reset(seed=1)[0]] + [env.step(action)[0] for action in actions]
        episode = env.episode()
    else:
        observations, episode = recorded(actions, **kwargs)
    path = episode.save(tmp_path / "new" / "walk.json")
    shown = list(replay(path))
    assert len(shown) == len(observations)
    assert all(same(moment.observation, other) for moment, other in zip(shown, observations, strict=True))
    assert all(moment.same for moment in shown)
    assert load_episode(path) == episode


def test_the_file_is_small_and_holds_no_frame(recorded, tmp_path):
    _, episode = recorded(WALK * 4)
    assert episode.save(tmp_path / "walk.json").stat().st_size < 2000


def test_a_reset_without_a_seed_can_be_replayed(untrained_model):
    env = RecordEpisode(gym.make("CtxMemScene-v0", model=str(untrained_model)))
    first = env.reset(seed=5)[0]
    second = env.reset()[0]
    assert not np.array_equal(first, second)
    third = env.step(FORWARD)[0]
    shown = list(replay(env.episode()))
    np.testing.assert_array_equal(shown[0].observation, second)
    np.testing.assert_array_equal(shown[1].observation, third)


def test_actions_are_remembered_as_they_were(untrained_model):
    env = RecordEpisode(gym.make("CtxMemScene-v0", model=str(untrained_model), actions="continuous"))
    env.reset(seed=5)
    action = np.float32([1, 0, 0, 0])
    env.step(action)
    action[:] = [0, 0, 1, 0]  # whoever acts may use one array again
    env.step(action)
    assert env.episode().actions == [[1, 0, 0, 0], [0, 0, 1, 0]]


def test_how_an_episode_was_shown_is_no_part_of_it(untrained_model):
    env = RecordEpisode(gym.make("CtxMemScene-v0", model=str(untrained_model), render_mode="rgb_array", device="cpu"))
    env.reset(seed=5)
    assert env.episode().arguments == {"model": str(untrained_model)}


def test_another_generator_is_refused_unless_it_is_asked_for(recorded, other_model):
    _, episode = recorded()
    moved = type(episode)(**{**vars(episode), "arguments": {"model": str(other_model)}})
    with pytest.raises(ValueError, match=r"was recorded with .*untrained.* and here is .*other.*any_generator=True"):
        next(replay(moved))
    shown = list(replay(moved, any_generator=True))
    assert shown[0].same and not shown[-1].same


def test_the_same_generator_in_another_folder_is_the_same(recorded, untrained_model, tmp_path):
    _, episode = recorded()
    (tmp_path / "link").symlink_to(untrained_model)
    moved = type(episode)(**{**vars(episode), "arguments": {"model": str(tmp_path / "link")}})
    assert all(moment.same for moment in replay(moved))


def test_another_course_is_told(recorded):
    _, episode = recorded()
    changed = type(episode)(**{**vars(episode), "actions": [TURN_LEFT, *episode.actions[1:]]})
    assert [moment.same for moment in replay(changed)][:2] == [True, False]


@pytest.fixture
def other_model(tmp_path):
    import torch

    from ctxmem_env.generator.pipeline import SceneGenerator
    from ctxmem_env.generator.store import save_generator
    from ctxmem_env.generator.transformer import SceneTransformer

    with torch.random.fork_rng():
        torch.manual_seed(1)
        shape = {"dim": 32, "num_heads": 2, "num_layers": 2, "num_context_layers": 1, "pixel_dim": 8}
        transformer = SceneTransformer(height=48, width=48, patch_size=8, **shape)
    return save_generator(SceneGenerator(transformer), tmp_path / "other")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: "no json", "expected a file that `ctxmem rollout --save-episode`"),
        (lambda content: [], "of the format ctxmem-episode-1"),
        (lambda content: {**content, "format": "ctxmem-episode-9"}, "of the format ctxmem-episode-1"),
        (lambda content: {**content, "seed": "zero"}, "its seed is a str"),
        (lambda content: {**content, "actions": 3}, "its actions is a int"),
        (lambda content: {**content, "env_id": "CartPole-v1"}, "its env_id is 'CartPole-v1'"),
        (lambda content: {name: content[name] for name in content if name != "frames"}, "it has"),
    ],
)
def test_files_that_hold_no_episode_are_refused(recorded, tmp_path, change, message):
    path = recorded()[1].save(tmp_path / "walk.json")
    content = change(json.loads(path.read_text()))
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ValueError, match=message):
        load_episode(path)


@pytest.mark.parametrize("actions", [[1, 2], [1, 2, 3, 4, 9], [1, 2, 3, 4, "x"], {"keys": []}])
def test_actions_that_do_not_fit_are_refused(recorded, actions):
    _, episode = recorded()
    changed = type(episode)(**{**vars(episode), "actions": actions})
    with pytest.raises(ValueError, match=r"the episode holds .*actions .*Discrete\(9\)"):
        next(replay(changed))


def test_arguments_that_no_environment_has_are_refused(recorded):
    _, episode = recorded()
    changed = type(episode)(**{**vars(episode), "arguments": {"colour": "red"}})
    with pytest.raises(ValueError, match=r"the episode cannot be opened: .*colour"):
        open_episode(changed)


def test_what_no_file_can_hold_is_refused_and_nothing_is_written(untrained_model, tmp_path):
    env = RecordEpisode(gym.make("CtxMemScene-v0", model=str(untrained_model)))
    with pytest.raises(ValueError, match="there is no episode yet; call reset"):
        env.episode()
    env.reset(seed=0, options={"image": np.zeros((48, 48, 3), np.uint8)})
    with pytest.raises(ValueError, match=r"are no JSON types cannot be saved .*give models and pictures by the path"):
        env.episode().save(tmp_path / "walk.json")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"was not made by gymnasium\.make of one of CtxMemScene-v0"):
        RecordEpisode(gym.make("CartPole-v1"))
