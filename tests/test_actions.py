import math

import numpy as np
import pytest
import torch

from ctxmem_env.actions import ContinuousActions, DiscreteActions, make_actions
from ctxmem_env.camera import move

STANDING = torch.tensor([[0.0, 0, 1.5, 0, 0, 0]])  # facing east

EFFECTS = {
    "stay": (0, 0, 0, 0),
    "forward": (0.5, 0, 0, 0),
    "back": (-0.5, 0, 0, 0),
    "strafe_left": (0, 0.5, 0, 0),
    "strafe_right": (0, -0.5, 0, 0),
    "turn_left": (0, 0, 30, 0),
    "turn_right": (0, 0, -30, 0),
    "look_up": (0, 0, 0, 30),
    "look_down": (0, 0, 0, -30),
}


@pytest.mark.parametrize("name", EFFECTS)
def test_each_discrete_action_moves_the_camera_as_its_name_says(name):
    actions = DiscreteActions(step_length=0.5, turn_angle=30)
    x, y, yaw, pitch = EFFECTS[name]
    moved = move(STANDING, actions.to_motion([actions.names.index(name)]))
    expected = torch.tensor([[x, y, 1.5, math.radians(yaw), math.radians(pitch), 0]])
    torch.testing.assert_close(moved, expected)


def test_the_discrete_names_are_the_space():
    actions = DiscreteActions()
    assert actions.names == tuple(EFFECTS)
    assert actions.space.n == len(EFFECTS) and actions.space.start == 0


@pytest.mark.parametrize("actions", [DiscreteActions(), ContinuousActions()])
def test_every_sample_of_the_space_is_an_action(actions):
    actions.space.seed(0)
    samples = np.stack([actions.space.sample() for _ in range(50)])
    motions = actions.to_motion(samples)
    assert motions.shape == (50, 4) and motions.dtype == torch.float32
    largest = torch.tensor([0.25, 0.25, math.radians(15), math.radians(15)])
    assert bool((motions.abs() <= largest + 1e-7).all()) and bool(motions.any())
    torch.testing.assert_close(motions, actions.to_motion(torch.from_numpy(samples)))


def test_continuous_actions_are_scaled_in_the_documented_order():
    actions = ContinuousActions(max_step=2.0, max_turn=90.0)
    motions = actions.to_motion([[1, -0.5, 0, 0], [0, 0, -1, 0.5]])
    expected = torch.tensor([[2, -1, 0, 0], [0, 0, -math.pi / 2, math.pi / 4]])
    torch.testing.assert_close(motions, expected)
    assert actions.space.shape == (4,) and actions.space.dtype == np.float32
    assert actions.names == ("dx", "dy", "dyaw", "dpitch")


def test_the_motion_of_an_action_cannot_be_changed_from_outside():
    actions = DiscreteActions()
    actions.to_motion([1]).zero_()
    assert actions.to_motion([1])[0, 0] == 0.25


@pytest.mark.parametrize(
    "bad", [[9], [-1], [1.0], [True], 1, [[1]], ["forward"], [None], np.array([2**40]), torch.tensor([math.nan])]
)
def test_a_bad_discrete_action_is_named(bad):
    with pytest.raises(ValueError, match=r"action=.*; expected one integer from 0 to 8 a world: 0 stay, 1 forward"):
        DiscreteActions().to_motion(bad)


@pytest.mark.parametrize(
    "bad",
    [
        [[0, 0, 0, 1.01]],
        [[0, 0, 0, -2]],
        [[0, math.nan, 0, 0]],
        [[math.inf, 0, 0, 0]],
        [[0, 0, 0]],
        [0, 0, 0, 0],
        [None],
    ],
)
def test_a_bad_continuous_action_is_named(bad):
    with pytest.raises(ValueError, match=r"action=.*; expected four finite numbers in \[-1, 1\] a world, dx, dy"):
        ContinuousActions().to_motion(bad)


@pytest.mark.parametrize(("name", "kind"), [("discrete", DiscreteActions), ("continuous", ContinuousActions)])
def test_actions_are_made_by_name_with_their_scale(name, kind):
    actions = make_actions(name, step_length=0.1, turn_angle=5.0)
    assert type(actions) is kind
    forward, left = ([1], [5]) if name == "discrete" else ([[1, 0, 0, 0]], [[0, 0, 1, 0]])
    assert actions.to_motion(forward)[0, 0] == pytest.approx(0.1)
    assert actions.to_motion(left)[0, 2] == pytest.approx(math.radians(5))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("discret",), "actions='discret' is unknown. Did you mean 'discrete'"),
        (("discrete", 0), "step_length=0; expected metres, finite and above 0"),
        (("continuous", -0.5), "step_length=-0.5; expected metres"),
        (("continuous", math.nan), "step_length=nan; expected metres"),
        (("discrete", 1e39), "step_length=1e\\+39; expected metres, finite and above 0, in single precision"),
        (("discrete", 10**400), "step_length=10+; expected metres, finite and above 0"),
        (("discrete", "far"), "step_length='far'; expected metres"),
        (("discrete", 0.25, 0), "turn_angle=0; expected degrees above 0 and at most 180"),
        (("discrete", 0.25, 360), "turn_angle=360; expected degrees above 0 and at most 180"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_actions(*arguments)
