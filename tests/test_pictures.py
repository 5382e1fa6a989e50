"""What a panel, its map and a comparison show of their figures."""

import numpy as np
import pytest
from test_recording import has_colour, view

from ctxmem_env.recording import Compared, draw_comparison, draw_panel
from ctxmem_env.recording.comparison import _COLOURS
from ctxmem_env.recording.drawing import CAMERA, CONTEXT
from ctxmem_env.recording.map import draw_map

STRIP = slice(434, None)  # the rows of a panel below its frame and its map
TILE = 91  # pixels of a retrieved frame in a panel without a true one
NONE = np.zeros((0, 6))


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_bar_below_a_retrieved_frame_is_as_long_as_its_share(share):
    panel = draw_panel(view(context=1, overlap=np.array([share])))
    assert has_colour(panel[STRIP], CONTEXT) == 2 * (1 + round(share * (TILE - 1)))


def test_the_numbers_of_retrieved_frames_are_told():
    one, other = (draw_panel(view(context=2, numbers=np.array(numbers))) for numbers in ([3, 7], [3, 8]))
    differ = (one != other).any(-1)
    rows, columns = np.nonzero(differ)
    assert rows.size and rows.min() > 434 + TILE and columns.min() > TILE and columns.max() < 2 * TILE + 40


def middle(picture, colour):
    """Where a colour lies in a picture: its mean column and row, as shares of the size."""
    rows, columns = np.nonzero((np.asarray(picture) == colour).all(-1))
    return columns.mean() / picture.size[0], rows.mean() / picture.size[1]


@pytest.mark.parametrize(("to", "side"), [((2, 0), (1, 0)), ((0, 2), (0, -1)), ((-2, 0), (-1, 0)), ((0, -2), (0, 1))])
def test_the_map_has_east_on_the_right_and_north_on_top(to, side):
    poses = np.zeros((3, 6))
    poses[:, :2] = np.outer([0, 0.5, 1], to)
    # The radius is half of the way and three metres more; the camera stands at the end of the way, a metre off.
    expected = 0.5 + np.array(side) / (2 * 4)
    drawn = draw_map(poses, 1.0, NONE, NONE, 400, legend=False)
    np.testing.assert_allclose(middle(drawn, CAMERA), expected, atol=0.02 + 0.35 / 8)  # the sector is seen, too
    context = np.array([[*(poses[-1, :2] / 2 - 0.5 * np.array([to[1], to[0]])), 0, 0, 0, 0]])
    drawn = draw_map(poses, 1.0, context, NONE, 400, legend=False)
    place = (context[0, :2] - poses[1, :2]) / 8
    np.testing.assert_allclose(middle(drawn, CONTEXT), 0.5 + place * [1, -1], atol=0.02)


def compared(name, colour, likeness, context=()):
    frames = np.zeros((len(context), 32, 32, 3), np.uint8)
    for frame, own in zip(frames, context, strict=True):
        frame[:] = own
    shown = view(context=len(context), frame=np.full((32, 32, 3), colour, np.uint8), context_frames=frames)
    return Compared(name, shown, likeness)


def test_a_comparison_shows_every_world_with_its_retrieved_frames_and_the_truth():
    red, green, blue, white = (200, 1, 2), (3, 201, 4), (5, 6, 202), (250, 251, 252)
    worlds = [compared("a", red, [50.0], [blue]), compared("b", green, [50.0], [blue, blue])]
    picture = draw_comparison(worlds, np.full((32, 32, 3), white, np.uint8), 4)
    assert [has_colour(picture, colour) for colour in (red, green, white)] == [256 * 256] * 3
    left, right = picture[:, : 16 + 2 * 272], picture[:, 16 + 2 * 272 :]
    assert has_colour(left, red) and has_colour(right, green) and not has_colour(right, red)
    assert 0 < 2 * has_colour(left, blue) == has_colour(right, blue)
    alone = draw_comparison(worlds, None, 4)
    assert has_colour(alone, white) == 0 and alone.shape[1] < picture.shape[1]


def test_the_chart_of_a_comparison_is_higher_for_who_is_nearer_to_the_truth_and_leaves_the_opening_frame_out():
    def chart(*likeness):
        worlds = [compared(name, 9, values) for name, values in zip("ab", likeness, strict=True)]
        return draw_comparison(worlds, np.zeros((32, 32, 3), np.uint8), 4)[-220:, 212:]

    drawn = chart([50, 40, 40, 40], [50, 20, 20, 20])
    near, far = (np.nonzero((drawn == colour).all(-1)) for colour in _COLOURS[:2])
    assert near[0].mean() < far[0].mean() - 60  # half of the height apart
    width = drawn.shape[1] - 16
    for _, columns in (near, far):  # from the first of four steps to the third
        assert columns.min() == pytest.approx(width / 4, abs=2) and columns.max() == pytest.approx(0.75 * width, abs=2)
    assert not any(has_colour(chart([50], [50]), colour) for colour in _COLOURS)
