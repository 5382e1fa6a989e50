"""Episodes come back from small files, to the bit."""

import json

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import (
    FrameStackObservation,
    GrayscaleObservation,
    RecordEpisodeStatistics,
    RescaleAction,
    StickyAction,
    TransformAction,
)
from helpers import FORWARD, TURN_LEFT, Escape, make, walk
from told_generators import Told

from ctxmem_env.episodes import RecordEpisode, load_episode, open_episode, replay
from ctxmem_env.tasks import Task
from ctxmem_env.true_scene import TrueSceneEnv

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


class Twice(gym.Wrapper):
    """Every action is taken twice."""

    def step(self, action):
        self.env.step(action)
        return self.env.step(action)


class Elsewhere(gym.Wrapper):
    """Begins where it likes."""

    def reset(self, *, seed=None, options=None):
        return self.env.reset(options={"scene": 7})


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


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda env: RescaleAction(env, np.float32(-0.5), np.float32(0.5)),
        lambda env: TransformAction(env, lambda action: -action, env.action_space),
        lambda env: StickyAction(env, 0.5),
        lambda env: FrameStackObservation(env, 2),
        lambda env: GrayscaleObservation(env),
        Twice,
    ],
    ids=["rescaled", "transformed", "sticky", "stacked", "grey", "twice"],
)
def test_what_is_recorded_is_what_the_world_itself_got_and_gave(wrapped):
    bare = make("CtxMemTrueScene-v0", actions="continuous")
    env = RecordEpisode(wrapped(RecordEpisodeStatistics(bare)))
    env.reset(seed=1)
    env.action_space.seed(0)
    for _ in range(4):
        env.step(env.action_space.sample())
    shown = list(replay(env.episode()))
    assert all(moment.same for moment in shown)
    np.testing.assert_array_equal(shown[-1].observation, bare.unwrapped.view().frame)


def test_a_world_without_wrappers_is_recorded():
    bare = make("CtxMemTrueScene-v0", max_episode_steps=-1, disable_env_checker=True).unwrapped
    env = RecordEpisode(bare)
    walk(env, WALK, seed=2)
    assert [moment.same for moment in replay(env.episode())] == [True] * 6


def test_a_seed_and_options_that_a_wrapper_chooses_are_recorded():
    env = RecordEpisode(Elsewhere(make("CtxMemTrueScene-v0")))
    walk(env, WALK, seed=2)
    episode = env.episode()
    assert episode.options == {"scene": 7} and episode.seed != 2
    assert all(moment.same for moment in replay(episode))


def test_a_moment_that_is_restored_brings_the_way_there(untrained_model):
    env = RecordEpisode(gym.make("CtxMemScene-v0", model=str(untrained_model)))
    env.reset(seed=3)
    env.step(FORWARD)
    state = env.unwrapped.clone_state()
    for action in (TURN_LEFT, TURN_LEFT):
        env.step(action)
    ends = []
    for actions in ([TURN_LEFT], [FORWARD, FORWARD]):
        env.unwrapped.restore_state(state)
        ends.append([env.step(action) for action in actions][-1][0])
        assert env.episode().actions == [FORWARD, *actions]
        shown = list(replay(env.episode()))
        assert all(moment.same for moment in shown)
        np.testing.assert_array_equal(shown[-1].observation, ends[-1])
    env.reset(seed=9)
    env.unwrapped.restore_state(state)
    assert env.episode().seed == 3 and env.episode().actions == [FORWARD]


@pytest.mark.parametrize(
    "meddle",
    [
        lambda bare, kept, path: bare.step(FORWARD),
        lambda bare, kept, path: bare.reset(seed=4),
        lambda bare, kept, path: bare.restore_state(kept),
        lambda bare, kept, path: bare.load(path),
        lambda bare, kept, path: bare.set_prompt("a wood"),
    ],
    ids=["step", "reset", "restore", "load", "prompt"],
)
def test_an_episode_that_no_actions_lead_through_is_refused_until_the_next_reset(tmp_path, meddle):
    inner = make(model=Told(), collisions=False)
    bare = inner.unwrapped
    inner.reset(seed=0)
    kept, path = bare.clone_state(), bare.save(tmp_path / "one.ctxworld")
    env = RecordEpisode(inner)
    env.reset(seed=1)
    meddle(bare, kept, path)
    env.step(FORWARD)
    with pytest.raises(
        ValueError, match=r"not reached by a reset and steps that were recorded: load, .*call reset\(\)"
    ):
        env.episode()
    env.reset(seed=1)
    env.step(FORWARD)
    assert all(moment.same for moment in replay(env.episode()))


def test_no_episode_leads_to_where_a_step_that_failed_half_way_has_led():
    class Fragile(Task):
        fails = False

        def evaluate(self, poses, frames, depth):
            if self.fails:
                raise RuntimeError("evaluate fails")
            return torch.zeros(len(poses)), torch.zeros(len(poses), dtype=torch.bool)

    env = RecordEpisode(make(task=Fragile, collisions=False))
    env.reset(seed=1)
    env.step(FORWARD)
    with pytest.raises(ValueError, match="expected one integer"):
        env.step(99)  # moves nothing
    assert len(env.episode().actions) == 1
    task = env.unwrapped.settings.task
    task.fails = True
    with pytest.raises(RuntimeError, match="evaluate fails"):
        env.step(FORWARD)
    task.fails = False
    env.step(FORWARD)
    with pytest.raises(ValueError, match="was not reached by a reset and steps that were recorded"):
        env.episode()


def test_a_replay_below_wrappers_of_observations_is_seen_to_be_the_same(recorded):
    _, episode = recorded()
    shown = list(replay(episode, FrameStackObservation(open_episode(episode), 2)))
    assert all(moment.same for moment in shown) and shown[-1].observation.shape[0] == 2


@pytest.mark.parametrize(
    "entry_point", ["ctxmem_env.true_scene:TrueSceneEnv", "ctxmem_env:TrueSceneEnv", TrueSceneEnv], ids=str
)
def test_an_id_of_ones_own_is_recorded_as_what_it_stands_for(monkeypatch, tmp_path, entry_point):
    own = EnvSpec("Mine-v0", entry_point, kwargs={"task": "explore", "height": 16, "width": 32, "tour": 1})
    monkeypatch.setitem(gym.registry, "Mine-v0", own)
    env = RecordEpisode(gym.make("Mine-v0", height=24))
    walk(env, WALK, seed=1)
    path = env.episode().save(tmp_path / "walk.json")
    monkeypatch.delitem(gym.registry, "Mine-v0")
    episode = load_episode(path)
    assert episode.env_id == "CtxMemTrueScene-v0"
    assert episode.arguments == {"task": "explore", "height": 24, "width": 32, "tour": 1}
    assert all(moment.same for moment in replay(path))


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
        (lambda content: {**content, "seed": -1}, "its seed is -1, below 0"),
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
    env = RecordEpisode(gym.make("CtxMemScene-v0", model=str(untrained_model), task=Escape))
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"tasks and strategies of your own by a name that is registered\."):
        env.episode().save(tmp_path / "walk.json")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"was not made by gymnasium\.make of one of CtxMemScene-v0.* of your own"):
        RecordEpisode(gym.make("CartPole-v1"))
