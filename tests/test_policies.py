"""Policies without training: what they do with a goal, with depth and with a map."""

import math
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
import torch

from ctxmem_env.actions import DiscreteActions
from ctxmem_env.camera import move
from ctxmem_env.policies import POLICIES, Policy, RandomActions, TurnAndGo, make_policy
from ctxmem_env.policies.moves import CLEARANCE, FORWARD, TURN_LEFT, TURN_RIGHT, free_ways
from ctxmem_env.policies.occupancy import CELL, OccupancyGrid, find_way, grow, is_straight

SIZE = 32


def facing_a_wall(distance, n=1, goal=(3.0, 0.0)):
    """Observations of n cameras at the origin that look along X at a wall in all of the view."""
    return {
        "rgb": np.zeros((n, SIZE, SIZE, 3), np.uint8),
        "depth": np.full((n, SIZE, SIZE, 1), distance, np.float32),
        "pose": np.tile(np.array([0, 0, 1.5, 0, 0, 0], np.float32), (n, 1)),
        "goal": np.tile(np.array(goal, np.float32), (n, 1)),
    }


def some_observations(n, steps, seed=0):
    """Observations of cameras that move at random among surfaces drawn at random, without and with a goal."""
    rng = np.random.default_rng(seed)
    walks = []
    for _ in range(steps):
        observation = facing_a_wall(1.0, n)
        observation["depth"] = rng.uniform(0.3, 6.0, (n, 1, SIZE, 1)).repeat(SIZE, 1).astype(np.float32)
        observation["pose"][:, :2] = rng.uniform(-1, 1, (n, 2))
        observation["pose"][:, 3] = rng.uniform(-3, 3, n)
        observation["goal"] = np.stack([rng.uniform(0.5, 4, n), rng.uniform(-3, 3, n)], axis=1).astype(np.float32)
        walks.append(observation)
    return walks


def rows(observation, which):
    return {name: value[which] for name, value in observation.items()}


def test_every_policy_follows_the_protocol():
    for name in POLICIES:
        policy = make_policy(name)
        assert isinstance(policy, Policy)
        actions, _ = policy.predict(facing_a_wall(2.0, n=3))
        assert actions.dtype == np.int64 and actions.shape == (3,) and set(actions.tolist()) <= set(range(9))


def test_policies_load_no_library_for_training():
    code = "import sys, ctxmem_env.policies; assert not {'stable_baselines3', 'sb3_contrib', 'ray'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_random_actions_are_uniform_and_follow_from_their_seed():
    observation = np.zeros((4500, 2, 2, 3), np.uint8)
    one, other, again = (RandomActions(seed).predict(observation)[0] for seed in (0, 1, 0))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    counts = np.bincount(one, minlength=9)
    assert counts.min() > 400 and counts.max() < 600 and len(counts) == 9
    continuous, _ = RandomActions(0, "continuous").predict({"rgb": observation})
    assert continuous.shape == (4500, 4) and continuous.dtype == np.float32
    assert np.abs(continuous).max() <= 1 and (np.abs(continuous.mean(0)) < 0.05).all()
    assert np.allclose(continuous.std(0), 1 / math.sqrt(3), atol=0.03)


@pytest.mark.parametrize("avoid", [False, True])
def test_turn_and_go_reaches_every_goal_in_an_empty_place(avoid):
    policy, motions = TurnAndGo(avoid), DiscreteActions()
    rng = np.random.default_rng(0)
    goals = torch.from_numpy(rng.uniform(-6, 6, (20, 2))).float()
    poses, state = torch.zeros(20, 6), None
    poses[:, 3] = torch.from_numpy(rng.uniform(-3, 3, 20)).float()
    reached = torch.zeros(20, dtype=torch.bool)
    for _ in range(55):
        offset = goals - poses[:, :2]
        distance, bearing = offset.norm(dim=1), torch.atan2(offset[:, 1], offset[:, 0]) - poses[:, 3]
        reached |= distance <= 0.3
        bearing = torch.remainder(bearing + math.pi, 2 * math.pi) - math.pi
        observation = facing_a_wall(50.0, 20) | {"goal": torch.stack([distance, bearing], 1).numpy()}
        actions, state = policy.predict(observation, state)
        poses = move(poses, motions.to_motion(actions) * ~reached[:, None])
    assert reached.all()


def test_a_goal_to_the_left_is_turned_to_and_a_wall_before_it_is_gone_round():
    act = lambda policy, **kwargs: policy.predict(facing_a_wall(**kwargs))[0][0]  # noqa: E731
    assert act(TurnAndGo(), distance=0.4, goal=(3, 1.0)) == TURN_LEFT
    assert act(TurnAndGo(), distance=0.4, goal=(3, -1.0)) == TURN_RIGHT
    assert act(TurnAndGo(), distance=0.4) == FORWARD
    assert act(TurnAndGo(avoid=True), distance=4.0) == FORWARD
    assert act(TurnAndGo(avoid=True), distance=0.4) in (TURN_LEFT, TURN_RIGHT)
    # A wall behind the goal is in nobody's way.
    assert act(TurnAndGo(avoid=True), distance=0.65, goal=(0.4, 0.0)) == FORWARD


def test_what_stops_the_camera_unseen_is_gone_round():
    """The depth shows free ground, and the goal comes no nearer."""
    policy, state, actions = TurnAndGo(avoid=True), None, []
    for _ in range(9):
        action, state = policy.predict(facing_a_wall(9.0), state)
        actions.append(int(action[0]))
    turns, ways = actions.count(TURN_LEFT) + actions.count(TURN_RIGHT), actions.count(FORWARD)
    assert actions[0] == FORWARD and turns >= 4 and ways >= 2


def test_the_way_is_free_up_to_a_wall():
    ways = free_ways(np.full((2, SIZE, SIZE, 1), 2.0, np.float32), np.array([0.0, math.radians(30), math.pi]))
    assert ways[:, 0] == pytest.approx(2 - CLEARANCE, abs=0.03)
    assert ways[:, 1] == pytest.approx((2 - CLEARANCE) / math.cos(math.radians(30)), abs=0.06)
    assert np.isinf(ways[:, 2]).all()


@pytest.mark.parametrize("name", ["turn_and_avoid", "wall_follower", "frontier"])
def test_a_world_acts_alone_as_it_does_among_others(name):
    walk = some_observations(3, 6)
    for observation in walk:
        if name == "wall_follower":
            del observation["goal"]

    def act(which):
        policy, state, actions = make_policy(name), None, []
        for observation in walk:
            action, state = policy.predict(rows(observation, which), state)
            actions.append(action)
        return np.stack(actions)

    together = act(slice(None))
    assert len(np.unique(together)) > 1
    np.testing.assert_array_equal(together[:, 1:2], act(slice(1, 2)))


@pytest.mark.parametrize("name", ["turn_and_avoid", "wall_follower", "frontier"])
def test_an_episode_that_begins_remembers_nothing(name):
    before, after = some_observations(2, 6, seed=1), some_observations(2, 8, seed=2)
    policy, state = make_policy(name), None
    for observation in before:
        _, state = policy.predict(observation, state)
    fresh, start = None, np.array([False, True])
    for observation in after:
        actions, state = policy.predict(observation, state, start)
        expected, fresh = policy.predict(observation, fresh, None if fresh is None else start & False)
        assert actions[1] == expected[1]
        start = np.zeros(2, bool)


def test_a_look_shows_free_ground_up_to_a_surface_and_nothing_behind_it():
    grid = OccupancyGrid(np.zeros(2))
    left = np.linspace(2.9, -2.9, 64)
    points = np.stack([np.full((4, 64), 3.0), np.tile(left, (4, 1))], axis=-1)
    grid.look(np.zeros(6), points, np.ones((4, 64), bool))
    ahead = {x: grid.evidence[tuple(grid.cell(np.array([x, 0.0])))] for x in (1.0, 2.0, 3.0, 4.0, -1.0)}
    assert ahead[1.0] < 0 and ahead[2.0] < 0 and ahead[3.0] > 0
    assert ahead[4.0] == 0 and ahead[-1.0] == 0
    assert grid.evidence[tuple(grid.cell(np.array([1.0, 2.0])))] == 0  # beside the view


def test_a_low_thing_that_has_left_the_view_stays_on_the_map():
    grid = OccupancyGrid(np.zeros(2))
    grid.bump(np.array([[0.6, 0.0], [2.5, 0.0]]))
    points = np.stack([np.full((4, 64), 5.0), np.tile(np.linspace(4.9, -4.9, 64), (4, 1))], axis=-1)
    for _ in range(20):
        grid.look(np.zeros(6), points, np.ones((4, 64), bool))
    near, far = (grid.evidence[tuple(grid.cell(np.array([x, 0.0])))] for x in (0.6, 2.5))
    assert near > 0 and far < 0


def test_places_and_cells_are_inverse():
    grid = OccupancyGrid(np.array([100.0, -7.0]))
    places = np.random.default_rng(0).uniform(-20, 20, (50, 2)) + [100.0, -7.0]
    assert np.abs(grid.place(grid.cell(places)) - places).max() <= CELL / 2 + 1e-9


def test_a_way_leads_through_the_door_and_none_through_a_wall():
    passable = np.ones((20, 20), bool)
    passable[10] = False
    targets = np.zeros_like(passable)
    targets[18, 2] = True
    assert find_way(passable, (2, 2), targets) is None
    passable[10, 17] = True
    way = find_way(passable, (2, 2), targets)
    assert way[0] == (2, 2) and way[-1] == (18, 2) and (10, 17) in way
    steps = np.abs(np.diff(way, axis=0))
    assert steps.max() == 1 and all(passable[cell] for cell in way)
    assert len(way) <= 33  # 8 to 15 diagonal and straight steps to the door, as many from there
    assert not is_straight(passable, (2, 2), (18, 2)) and is_straight(passable, (2, 2), (8, 17))


def test_a_diagonal_gap_lets_a_way_through():
    passable = np.eye(9, dtype=bool)
    targets = np.zeros_like(passable)
    targets[8, 8] = True
    assert find_way(passable, (0, 0), targets) == [(i, i) for i in range(9)]


def test_cells_grow_by_their_distance():
    mask = np.zeros((7, 7), bool)
    mask[3, 3] = True
    assert [grow(mask, square).sum() for square in (0, 1, 2, 4, 5)] == [1, 5, 9, 13, 21]
    corner = np.zeros((3, 3), bool)
    corner[0, 0] = True
    assert grow(corner, 1).sum() == 3  # nothing appears at the other border


def test_the_explorer_walks_to_a_goal_and_back_and_turns_where_all_ahead_is_known():
    explorer = make_policy("frontier")
    ahead = facing_a_wall(6.0)
    assert explorer.predict(ahead)[0] == FORWARD
    assert explorer.predict(ahead | {"goal": np.array([[3.0, 1.5]], np.float32)})[0] == TURN_LEFT
    out, back = (ahead | {"goal": np.array([[share]], np.float32)} for share in (1.0, 0.0))
    _, state = explorer.predict(out)
    away = back | {"pose": np.array([[2.0, 0, 1.5, 0, 0, 0]], np.float32)}
    assert explorer.predict(away, state)[0] in (TURN_LEFT, TURN_RIGHT)
    wall = {name: value for name, value in facing_a_wall(0.5).items() if name != "goal"}
    assert explorer.predict(wall)[0] in (TURN_LEFT, TURN_RIGHT)


def test_the_explorer_goes_round_what_stopped_it():
    explorer, observation, state, actions = make_policy("frontier"), facing_a_wall(6.0), None, []
    for _ in range(4):
        action, state = explorer.predict(observation, state)
        actions.append(int(action[0]))
    assert actions[0] == FORWARD and actions[1] in (TURN_LEFT, TURN_RIGHT)


@pytest.mark.parametrize(
    ("name", "observation", "message"),
    [
        (
            "turn_and_go",
            np.zeros((2, 8, 8, 3), np.uint8),
            "observation is an array; TurnAndGo needs 'goal': make .*task",
        ),
        ("turn_and_avoid", {"goal": np.zeros((2, 2))}, r"has \['goal'\]; TurnAndGo needs 'goal', 'depth'.*'rgbd'"),
        ("frontier", {"rgb": np.zeros((2, 8, 8, 3))}, "FrontierExplorer needs 'depth', 'pose'.*observation='dict'"),
    ],
)
def test_an_observation_that_lacks_something_gets_one_clear_error(name, observation, message):
    with pytest.raises(ValueError, match=message):
        make_policy(name).predict(observation)


def test_an_unknown_policy_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"policy='frontirr' is unknown\. Did you mean 'frontier'\?"):
        make_policy("frontirr")
    with pytest.raises(ValueError, match="seed=-1 is out of range"):
        make_policy("random", seed=-1)
    with pytest.raises(ValueError, match="actions='discreet' is unknown"):
        make_policy("random", actions="discreet")


def test_scripted_policies_drive_an_environment():
    env = gym.make("CtxMemTrueScene-v0", task="explore", observation="dict", height=SIZE, width=SIZE, tour=0)
    policy, state, start = make_policy("wall_follower"), None, np.ones(1, bool)
    observation, _ = env.reset(seed=0)
    places = []
    for _ in range(40):
        batch = {name: value[None] for name, value in observation.items()}
        actions, state = policy.predict(batch, state, start)
        observation, *_, info = env.step(actions[0])
        start, places = np.zeros(1, bool), [*places, info["pose"][:2]]
    env.close()
    assert len(np.unique(np.round(places, 2), axis=0)) > 15
