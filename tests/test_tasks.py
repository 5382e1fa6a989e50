"""Tasks: what they draw, what they pay, when they end, and what they refuse."""

import copy
import math
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
import torch
from batches import N, assert_same, make_sync, make_vec, walk
from helpers import FORWARD, IDS, TURN_LEFT, TURN_RIGHT, make

from ctxmem_env.camera import motion_between
from ctxmem_env.scenes import build_scene, is_free, shortest_way
from ctxmem_env.tasks import REWARDS, TASKS, make_task
from ctxmem_env.tasks.goals import BONUS, STEP_COST
from ctxmem_env.tasks.look_back import OUTWARD

STAY, BACK = 0, 2
IMAGE = np.zeros((9, 9, 3), np.uint8)
GOAL_TASKS = ("point_goal", "image_goal", "look_back")


def in_the_open(task, **kwargs):
    """At the origin of a photograph, looking east, where nothing is in the way."""
    env = make(task=task, collisions=False, **kwargs)
    env.reset(seed=0, options={"image": IMAGE})
    return env


def through_walls(task, **kwargs):
    """In a true scene, where whoever comes back sees what was there, and nothing stops anybody."""
    env = make(IDS[1], task=task, collisions=False, **kwargs)
    env.reset(seed=0, options={"scene": 2, "pose": (0, 0, 1.5, 0, 0, 0)})
    return env


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
@pytest.mark.parametrize("task", TASKS)
def test_a_batch_goes_the_way_of_single_environments(task, mode):
    kwargs = {"task": task, "max_episode_steps": 4, "tour": 5, "observation": "dict" if mode == "SameStep" else "rgb"}
    batch = walk(make_vec(autoreset_mode=mode, **kwargs), seed=5)
    assert_same(batch, walk(make_sync(mode=mode, **kwargs), seed=5))


@pytest.mark.parametrize("task", TASKS)
def test_the_same_seed_gives_the_same_episode(task):
    def episode(seed):
        env = make(task=task, tour=5)
        out = [env.reset(seed=seed), *(env.step(action) for action in (FORWARD, TURN_LEFT, FORWARD)), env.reset()]
        return [part if isinstance(part, tuple) else (part,) for part in out]

    assert_same(episode(3), episode(3))


@pytest.mark.parametrize("task", GOAL_TASKS)
def test_every_goal_task_tells_success_spl_and_distance_with_every_observation(task):
    for observation in ("rgb", "rgbd", "dict"):
        env = make(task=task, observation=observation, tour=5)
        seen, info = env.reset(seed=0)
        assert seen in env.observation_space and {"rgb", "goal"} <= set(seen)
        for told in (info, env.step(FORWARD)[-1]):
            assert type(told["success"]) is bool
            assert type(told["spl"]) is type(told["distance_to_goal"]) is float


def test_point_goals_are_free_seen_and_reachable():
    env = make("CtxMemTrueScene-v0", task="point_goal", tour=8)
    distances = []
    for seed in range(12):
        scene = build_scene(seed)
        _, info = env.reset(seed=seed, options={"scene": seed})
        task = env.unwrapped.settings.task
        goal, start = task.goal[0, :2], torch.from_numpy(info["pose"][:2])
        assert bool(is_free(scene, goal, 0.19))
        assert math.isfinite(shortest_way(scene, start, goal, 0.19))
        assert task.way[0] >= info["distance_to_goal"] - 1e-4
        assert shown(env.unwrapped.world.memory, goal)
        distances.append(info["distance_to_goal"])
    assert max(distances) <= 8 and np.mean(np.array(distances) >= 1) > 0.8
    assert len({round(distance, 3) for distance in distances}) == 12


def shown(memory, place):
    """Whether one of the remembered frames, of 90 degrees, looks as far as a place (2,) in its middle row."""
    seen = memory.gather(torch.arange(memory.lengths[0])[None])
    for pose, depth in zip(seen.poses[0], seen.depth[0], strict=True):
        ahead, left, _, _ = motion_between(pose, torch.tensor([*place, 0, 0, 0, 0])).tolist()
        column = int((1 - left / max(ahead, 1e-6)) / 2 * depth.shape[1])
        if 0 <= column < depth.shape[1] and 0 < ahead < depth[depth.shape[0] // 2, column]:
            return True
    return False


def test_an_agent_that_follows_the_goal_vector_arrives():
    env = make("CtxMemTrueScene-v0", task="point_goal", tour=8, sliding=True, max_episode_steps=120)
    arrived, spl = [], []
    for seed in range(10):
        seen, _ = env.reset(seed=seed, options={"scene": seed})
        over = False
        while not over:
            bearing = seen["goal"][1]
            turn = TURN_LEFT if bearing > 0 else TURN_RIGHT
            seen, _, terminated, truncated, info = env.step(turn if abs(bearing) > 0.14 else FORWARD)
            over = terminated or truncated
        assert terminated == info["success"]
        arrived.append(info["success"])
        spl.append(info["spl"])
    assert np.mean(arrived) >= 0.7 and np.mean(spl) >= 0.6


def test_the_goal_vector_is_seen_from_the_body():
    env = make(task="point_goal", collisions=False)
    seen, _ = env.reset(options={"image": IMAGE, "goal": (0.0, 2.0)})
    np.testing.assert_allclose(seen["goal"], [2, math.pi / 2], atol=1e-6)
    seen = env.step(TURN_LEFT)[0]
    np.testing.assert_allclose(seen["goal"], [2, math.radians(75)], atol=1e-6)
    seen = env.step(FORWARD)[0]
    assert seen["goal"][0] < 2 and seen["goal"][1] > math.radians(75)


def test_the_dense_reward_of_a_point_goal_is_the_progress():
    env = make(task="point_goal", collisions=False)
    env.reset(options={"image": IMAGE, "goal": (0.9, 0.0)})
    rewards, ends, infos = zip(
        *((s[1], s[2], s[4]) for s in map(env.step, (FORWARD, BACK, *[FORWARD] * 3))), strict=True
    )
    expected = np.array([0.25, -0.25, 0.25, 0.25, 0.25]) - STEP_COST + np.array([0, 0, 0, 0, BONUS])
    np.testing.assert_allclose(rewards, expected, atol=1e-5)
    assert ends == (False, False, False, False, True)
    assert infos[-1]["success"] and infos[-1]["spl"] == pytest.approx(0.9 / 1.25)
    assert infos[-2]["spl"] == 0 and infos[-1]["distance_to_goal"] == pytest.approx(0.15, abs=1e-5)


def test_the_sparse_reward_is_paid_for_success_alone():
    env = make(task="point_goal", reward="sparse", collisions=False)
    env.reset(options={"image": IMAGE, "goal": (0.9, 0.0)})
    assert [env.step(FORWARD)[1] for _ in range(3)] == [0, 0, 1]


def test_a_straight_walk_has_an_spl_of_one():
    env = make(task="point_goal", collisions=False)
    env.reset(options={"image": IMAGE, "goal": (2.0, 0.0)})
    *_, info = [env.step(FORWARD) for _ in range(7)][-1]
    assert info["success"] and info["spl"] == 1


def test_an_image_goal_is_a_remembered_frame_and_is_reached_by_its_pose():
    env = make(task="image_goal", tour=5)
    seen, info = env.reset(seed=0)
    memory = env.unwrapped.world.memory
    frames = memory.gather(torch.arange(6)[None]).frames[0].numpy()
    assert any((seen["goal"] == frame).all() for frame in frames[:-1])
    assert not (seen["goal"] == seen["rgb"]).all() and not info["success"]


def test_an_image_goal_asks_for_place_and_direction():
    pose = build_start(5)
    goal = (*pose[:3], pose[3] + math.radians(65), 0.0, 0.0)
    env = make("CtxMemTrueScene-v0", task="image_goal")
    seen, _ = env.reset(seed=0, options={"scene": 5, "pose": pose, "goal": goal})
    rewards, ends = zip(*((step[1], step[2]) for step in map(env.step, [TURN_LEFT] * 3)), strict=True)
    assert ends == (False, False, True)
    np.testing.assert_allclose(rewards[:2], 15 / 180 - STEP_COST, atol=1e-5)
    env.reset(seed=0, options={"scene": 5, "pose": goal})
    np.testing.assert_array_equal(seen["goal"], env.step(STAY)[0]["rgb"])


def build_start(scene):
    return make("CtxMemTrueScene-v0").reset(seed=0, options={"scene": scene})[1]["pose"].astype(float).tolist()


def test_exploring_pays_for_ground_once():
    env = in_the_open("explore")
    first = [env.step(TURN_LEFT) for _ in range(24)]
    rewards = [step[1] for step in first]
    # The painted surface is 3 m ahead, so that the corners of a view are 4.2 m away.
    assert 9 + sum(rewards) == pytest.approx(math.pi * 4.1**2, rel=0.1)
    assert rewards[0] > 1
    assert first[-1][-1]["seen_area"] == pytest.approx(9 + sum(rewards), abs=1)
    assert sum(env.step(TURN_LEFT)[1] for _ in range(24)) < 0.5
    # A strip of 6 m by 5 m, beyond what was seen already.
    assert sum(env.step(FORWARD)[1] for _ in range(20)) == pytest.approx(30, abs=10)
    env.reset(seed=0, options={"image": IMAGE})
    assert env.step(TURN_LEFT)[1] == rewards[0]


def test_ground_behind_a_wall_is_not_seen():
    env = make("CtxMemTrueScene-v0", task="explore", collisions=False)
    for seed in range(4):
        _, info = env.reset(seed=seed, options={"scene": seed})
        for _ in range(24):
            info = env.step(TURN_LEFT)[-1]
        scene = build_scene(seed)
        x0, y0, x1, y1 = scene.bounds.tolist()
        assert 3 < info["seen_area"] < 1.15 * (x1 - x0) * (y1 - y0)


def test_the_sparse_reward_of_exploring_counts_ten_square_metres():
    env = in_the_open("explore", reward="sparse")
    rewards = [env.step(TURN_LEFT)[1] for _ in range(30)]
    assert set(rewards) == {0, 1}
    assert sum(rewards) == math.floor(env.step(STAY)[-1]["seen_area"] / 10)


def test_looking_back_asks_to_go_away_first():
    env = in_the_open("look_back")
    steps = [env.step(action) for action in ([FORWARD] * 10 + [BACK] * 9)]
    assert not any(step[2] for step in steps) and not any(step[-1]["success"] for step in steps)
    shares = [float(step[0]["goal"][0]) for step in steps]
    np.testing.assert_allclose(shares, 1 - np.arange(1, OUTWARD) / OUTWARD, atol=1e-6)
    turned = env.step(STAY)
    assert turned[0]["goal"] == [0] and not turned[2] and not turned[-1]["success"]
    _, reward, terminated, _, info = env.step(STAY)
    assert terminated and info["success"] and reward > 2


def test_looking_back_is_not_solved_by_standing_still():
    env = in_the_open("look_back")
    steps = [env.step(TURN_LEFT) for _ in range(OUTWARD)]
    assert [step[2] for step in steps] == [False] * (OUTWARD - 1) + [True]
    assert not steps[-1][-1]["success"] and sum(step[1] for step in steps) == 0


def test_looking_back_pays_the_way_there_and_judges_the_way_back():
    env = through_walls("look_back")
    out = [env.step(FORWARD) for _ in range(OUTWARD)]
    assert sum(step[1] for step in out) == pytest.approx(1, abs=1e-5)
    back = [env.step(BACK) for _ in range(18)]
    assert back[-1][2] and back[-1][-1]["success"] and back[-1][-1]["spl"] == 1
    assert sum(step[1] for step in back) == pytest.approx(4.5 - 18 * STEP_COST + BONUS, abs=1e-4)


def test_a_place_that_has_changed_is_not_the_view_to_come_back_to():
    env = through_walls("look_back")
    for action in [FORWARD] * 10 + [BACK] * 9:
        env.step(action)
    task, sight = env.unwrapped.settings.task, env.unwrapped._sight
    poses, there, depth = (getattr(sight, name) for name in ("poses", "frames", "depth"))
    moment = copy.deepcopy(vars(task))
    seen = {"there": (there, depth), "repainted": (255 - there, depth), "moved": (there, depth / 2)}
    for name, (frames, metres) in seen.items():
        task.__dict__ = copy.deepcopy(moment)
        for _ in range(2):  # the last of the steps out, and one more
            _, ended = task.evaluate(poses, frames, metres)
        assert ended.tolist() == task.inform()["success"].tolist() == [name == "there"]
        assert (task.inform()["found_again"] > 0.9) == (name == "there")


def test_a_way_around_is_longer_and_into_a_wall_there_is_none():
    scene = build_scene(4)
    ground = scene.bounds
    rng = np.random.default_rng(0)
    low, high = ground[:2].numpy(), ground[2:].numpy()
    places = torch.from_numpy(rng.uniform(low, high, (200, 2))).float()
    places = places[is_free(scene, places, 0.3)][:14]
    straight, ways = [], []
    for start, goal in pairwise(places):
        straight.append(float((goal - start).norm()))
        ways.append(shortest_way(scene, start, goal, 0.2))
        back = shortest_way(scene, goal, start, 0.2)
        assert ways[-1] == pytest.approx(back, rel=0.03, abs=0.1)
    ratio = np.array(ways) / np.array(straight)
    assert (ratio >= 1 - 1e-6).all() and ratio.max() > 1.05
    assert shortest_way(scene, places[0], scene.bounds[2:] + 2, 0.2) == math.inf


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("point_goal", {"scene": 5, "goal": (90.0, 0.0)}, r"goal'\] lies at x=90.00, y=0.00, which is in a wall"),
        ("point_goal", {"goal": (1, 2, 3, 4, 5, 6)}, r"goal'\] has 6 numbers; the goal of PointGoal has 2: x, y"),
        ("image_goal", {"goal": (1, 2)}, r"goal'\] has 2 numbers; the goal of ImageGoal has 6: x, y, z, yaw"),
        ("look_back", {"goal": (1, 2)}, r"goal'\] was given, but the goal of LookBack is not chosen"),
        ("roam", {"goal": (1, 2)}, r"goal'\] was given, but the goal of Roam is not chosen"),
        ("point_goal", {"goal": (1, 2, 3)}, r"goal'\] has shape \(3,\); expected \(x, y\) in metres"),
        ("point_goal", {"goal": "door"}, r"goal'\]='door' is not numeric"),
        ("point_goal", {"goal": (math.nan, 0.0)}, r"goal'\]=\(nan, 0.0\); expected finite numbers"),
        ("image_goal", {"tour": 0}, r"draws its goal from the remembered frames, and all 1 of them show the start"),
    ],
)
def test_goals_that_make_no_sense_are_refused_and_nothing_is_lost(env_id, task, options, message):
    env, untouched = (make(env_id, task=task, tour=5) for _ in range(2))
    for one in (env, untouched):
        one.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.reset(options=options)
    assert_same(env.step(FORWARD)[4], untouched.step(FORWARD)[4])


def test_nobody_knows_the_goal_frame_of_a_photograph():
    with pytest.raises(ValueError, match="nobody knows what a photograph does not show"):
        make(task="image_goal").reset(options={"image": IMAGE, "goal": (0, 0, 1.5, 1, 0, 0)})


def test_unknown_tasks_and_rewards_are_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match=r"task='point_gaol' is unknown\. Did you mean 'point_goal'\?"):
        make(task="point_gaol")
    with pytest.raises(ValueError, match=r"reward='dens' is unknown\. Did you mean 'dense'\?"):
        make(reward="dens")
    with pytest.raises(ValueError, match="tour=20 frames and the first frame do not fit into memory_capacity=12"):
        make(task="point_goal", tour=20, memory_capacity=12)


def test_worlds_of_a_batch_have_goals_of_their_own_until_each_starts_over():
    envs = make_vec(task="point_goal", tour=5, autoreset_mode="Disabled")
    seen, _ = envs.reset(seed=0)
    assert len({tuple(goal) for goal in seen["goal"].tolist()}) == N
    before = envs.settings.task.goal.clone()
    mask = np.array([False, True, False])
    envs.reset(seed=9, options={"reset_mask": mask})
    same = (envs.settings.task.goal == before).all(1).tolist()
    assert same == [True, False, True]


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("reward", REWARDS)
def test_every_task_has_a_card_and_adds_what_it_announces(name, reward):
    task = make_task(name, reward)
    for line in ("Randomisation:", "Success:", "Dense reward:", "Sparse reward:", "Episode end:"):
        assert line in TASKS[name].__doc__
    task.open(2, 48, 48, torch.device("cpu"))
    announced = task.spaces(48, 48)
    observed = task.observe()
    assert announced.keys() == observed.keys()
    for key, space in announced.items():
        assert isinstance(space, gym.spaces.Box) and observed[key].shape == (2, *space.shape)
