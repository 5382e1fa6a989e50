"""The window: keys and mouse move the camera, and the pixels show it."""

import sys

import numpy as np
import pytest

from ctxmem_env.cli.play import open_player
from ctxmem_env.cli.walks import Play
from ctxmem_env.play.controls import TURN_ANGLE, Controls

pygame = pytest.importorskip("pygame")
VIEW = (slice(34, 418), slice(16, 400))


@pytest.fixture
def player(untrained_model, tmp_path):
    players = []

    def make(**options):
        command = Play(model=str(untrained_model), out=tmp_path / "videos", **options)
        players.append(open_player(command))
        return players[-1]

    yield make
    for one in players:
        if pygame.display.get_init():
            one.close()


def press(*names, up=True):
    for name in names:
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.key.key_code(name)))
        if up:
            pygame.event.post(pygame.event.Event(pygame.KEYUP, key=pygame.key.key_code(name)))


def screen():
    """What the window shows, (height, width, 3)."""
    return pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)


def pose(player):
    return player._env.view().poses[-1]


def turned(before, after):
    """Degrees to the left."""
    return (np.degrees(after[3] - before[3]) + 180) % 360 - 180


def test_a_key_that_is_held_moves_on_until_it_is_released(player):
    one = player(env="true")
    start = pose(one)
    press("w", up=False)
    for _ in range(3):
        one.tick()
    held = pose(one)
    assert np.linalg.norm(held[:2] - start[:2]) > 0.3 and one.steps == 3
    pygame.event.post(pygame.event.Event(pygame.KEYUP, key=pygame.K_w))
    one.tick(), one.tick()
    np.testing.assert_array_equal(pose(one), held)
    assert one.steps == 3


def test_arrows_turn_and_the_picture_shows_it(player):
    one = player(env="true")
    before, start = screen()[VIEW], pose(one)
    press("left")
    one.tick()
    assert turned(start, pose(one)) == pytest.approx(10, abs=0.01)
    assert np.abs(screen()[VIEW].astype(int) - before).mean() > 3
    press("up")
    one.tick()
    assert pose(one)[4] > start[4]


def test_the_mouse_looks_once_it_was_clicked(player):
    one = player(env="true")
    start = pose(one)
    moved = pygame.event.Event(pygame.MOUSEMOTION, rel=(-40, 0), pos=(0, 0), buttons=(0, 0, 0))
    pygame.event.post(moved)
    one.tick()
    np.testing.assert_array_equal(pose(one), start)
    pygame.event.post(pygame.event.Event(pygame.MOUSEBUTTONDOWN, button=1, pos=(9, 9)))
    pygame.event.post(moved)
    one.tick()
    assert turned(start, pose(one)) == pytest.approx(6, abs=0.01)
    press("escape")
    one.tick()
    assert one.open  # the first Esc lets the mouse go
    press("escape")
    one.tick()
    assert not one.open


def test_back_shows_the_moment_that_was_kept(player):
    one = player()
    press("w")
    one.tick()
    press("k")
    one.tick()
    kept, there = screen()[VIEW], pose(one)
    press("left"), one.tick(), press("w"), one.tick()
    assert not np.array_equal(screen()[VIEW], kept)
    press("b")
    one.tick()
    np.testing.assert_array_equal(screen()[VIEW], kept)
    np.testing.assert_array_equal(pose(one), there)


def test_restart_and_next(player):
    one = player(env="true")
    first = screen()[VIEW]
    press("w"), one.tick(), press("r"), one.tick()
    np.testing.assert_array_equal(screen()[VIEW], first)
    press("n"), one.tick()
    assert not np.array_equal(screen()[VIEW], first)


def test_a_video_is_made_between_two_presses(player, tmp_path):
    from test_recording import read_mp4

    one = player(env="true")
    press("v"), one.tick(), press("w"), one.tick(), press("left"), one.tick(), one.tick()
    shown = screen()
    press("v"), one.tick()
    assert one.videos == [str(tmp_path / "videos" / "walk_001.mp4")]
    frames, _ = read_mp4(one.videos[0])
    assert len(frames) == 3  # where it began, and two steps
    assert np.abs(frames[-1].astype(int) - shown[: len(frames[-1])]).mean() < 4
    press("v"), one.tick(), one.close()
    assert one.videos[1].endswith("walk_002.mp4")


def test_a_video_that_cannot_be_written_is_told_and_the_walk_goes_on(player, tmp_path):
    (tmp_path / "videos").write_text("a file in the way")
    one = player(env="true")
    press("v"), one.tick(), press("w"), one.tick(), press("v"), one.tick()
    assert one.videos == [] and one._note.startswith("the video could not be saved: ")
    press("w"), one.tick()
    assert one.steps == 2


def test_a_video_that_lacks_its_library_is_told_and_the_walk_goes_on(player, monkeypatch):
    monkeypatch.setitem(sys.modules, "moviepy.video.io.ffmpeg_writer", None)
    one = player(env="true")
    press("v"), one.tick(), press("w"), one.tick(), press("v"), one.tick()
    assert one.videos == [] and one._note.startswith("the video could not be saved: ") and "moviepy" in one._note
    press("w"), one.tick()
    assert one.steps == 2


def test_what_was_kept_is_of_one_world(player):
    one = player(env="true")
    press("k"), one.tick(), press("n"), one.tick()
    there = pose(one)
    press("b"), one.tick()
    np.testing.assert_array_equal(pose(one), there)
    assert one._note == "nothing is kept yet; K keeps this moment"


def test_a_window_that_loses_the_focus_lets_go_of_keys_and_mouse(player):
    one = player(env="true")
    pygame.event.post(pygame.event.Event(pygame.MOUSEBUTTONDOWN, button=1, pos=(9, 9)))
    press("w", up=False)
    one.tick()
    pygame.event.post(pygame.event.Event(pygame.WINDOWFOCUSLOST))
    pygame.event.post(pygame.event.Event(pygame.MOUSEMOTION, rel=(-40, 0), pos=(0, 0), buttons=(0, 0, 0)))
    one.tick(), one.tick()
    assert one.steps == 1


def test_help_covers_the_window_and_goes_away(player):
    one = player(env="true")
    before = screen()
    press("h"), one.tick()
    assert not np.array_equal(screen(), before)
    press("h"), one.tick()
    np.testing.assert_array_equal(screen(), before)


def test_nothing_is_painted_while_nobody_moves(player):
    one = player()
    for _ in range(3):
        one.tick()
    assert one.steps == 0 and len(one._env.view().poses) == 1


def test_goals_are_shown(player):
    one = player(env="true", task="image_goal")
    goal, inset = one._observation["goal"], screen()[42:138, 296:392]
    from PIL import Image

    expected = Image.fromarray(goal).resize((96, 96), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(inset, np.asarray(expected))


def test_the_way_to_the_goal_is_told(player):
    one = player(env="true", task="point_goal")
    assert one._tell() == f"{one._info['distance_to_goal']:.1f} m to the goal"


def test_a_tap_is_one_step():
    controls = Controls()
    controls.press("w"), controls.release("w")
    assert controls.action().tolist() == [1, 0, 0, 0] and controls.action() is None


def test_a_diagonal_is_no_faster_and_fast_mice_turn_on():
    controls = Controls()
    controls.press("w"), controls.press("a")
    assert np.linalg.norm(controls.action()[:2]) == pytest.approx(1)
    controls.let_go()
    assert controls.action() is None
    controls.look(1000, 0)
    turns = [controls.action()[2] for _ in range(5)]
    assert turns == pytest.approx([-1, -1, -1, -1, -1]) and controls.action() is None
    assert sum(turns) * TURN_ANGLE == pytest.approx(-1000 * 0.15)


def test_the_command_plays_until_the_window_is_closed(run, untrained_model):
    pygame.display.init()
    press("w", up=False)
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    results, err = run("play", "--model", untrained_model, "--seed", 4)
    assert results == {"steps": 1, "videos": [], "env": "CtxMemScene-v0", "seed": 4}
    assert "WASD moves" in err
    assert not pygame.display.get_init()


def test_bad_input_opens_no_window(fail):
    assert "fps=0.0; expected steps a second" in fail("play", "--fps", "0")
    assert "Did you mean 'image_goal'?" in fail("play", "--task", "image_gol", "--env", "true")
