"""The server of the web page: what visitors see, keep, bring and are refused."""

import io
import json
import time
import zlib

import gymnasium as gym
import numpy as np
import pytest
from files import rewrite
from PIL import Image
from served import FORWARD, LEFT, RIGHT, STAY, Visitor, ask, picture, served, wait_until

from ctxmem_env.viewer.limits import UPLOAD_BYTES, Limits
from ctxmem_env.viewer.messages import parse, parse_action
from ctxmem_env.viewer.pictures import from_png, read_photograph

SEED = {"seed": 3, "style": "library"}


@pytest.fixture(scope="module")
def server(untrained_model):
    with served(untrained_model) as serving:
        yield serving


@pytest.fixture
def address(server):
    return server.address


@pytest.fixture
def visitor(address):
    with Visitor(address) as one:
        yield one


def photograph(kind="PNG", size=(60, 40)):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(256, size=(*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def bomb(side):
    """A small file that tells of a large picture."""
    data = bytearray(photograph())
    data[16:24] = side.to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def test_the_page_and_its_files_are_served_and_hold_nothing_from_elsewhere(address):
    status, headers, page = ask(address)
    assert status == 200 and "default-src 'none'" in headers["content-security-policy"]
    names = ["style.css", "main.js", "link.js", "map.js", "pictures.js", "walk.js", "icon.svg"]
    texts = [page] + [ask(address, path=f"/{name}")[2] for name in names]
    for text in texts:
        assert len(text) > 200
        assert b"http://" not in text.replace(b"http://www.w3.org/2000/svg", b"") and b"https://" not in text


@pytest.mark.parametrize("path", ["/app.py", "/../app.py", "/%2e%2e/app.py", "/..%2fapp.py", "/docs", "/api/none"])
def test_nothing_else_is_served(address, path):
    status, _, body = ask(address, path=path)
    assert (status, body) == (404, b'{"error":"Not Found"}')


def test_a_visitor_opens_a_world_and_sees_what_the_environment_shows(visitor, untrained_model):
    frame = visitor.open(**SEED)
    env = gym.make(
        "CtxMemScene-v0", model=str(untrained_model), actions="continuous", sliding=True, memory_capacity=256
    )
    observation, info = env.reset(seed=3, options={"scene": "library"})
    assert np.array_equal(picture(frame), observation)
    assert frame["opened"]["choice"]["seed"] == 3 and len(frame["opened"]["cameras"]) == frame["remembered"] == 13
    for action in (LEFT, FORWARD, RIGHT):
        frame = visitor.move(action)
        observation, _, _, _, info = env.step(np.array(action, np.float32))
        assert np.array_equal(picture(frame), observation)
        assert frame["pose"] == pytest.approx(info["pose"], abs=1e-3)
        assert frame["retrieved"] == info["retrieved"].tolist()
        assert from_png(frame["pictures"]["depth"]).shape == (48, 48)
    with Image.open(io.BytesIO(frame["pictures"]["strip"])) as strip:
        assert strip.size == (8 * 48, 48)


def test_the_pictures_of_the_strip_are_the_frames_that_were_retrieved(visitor):
    first = picture(visitor.open(**SEED))
    frame = visitor.move(STAY)
    with Image.open(io.BytesIO(frame["pictures"]["strip"])) as strip:
        tiles = np.split(np.array(strip), len(frame["retrieved"]), axis=1)
    tile = tiles[frame["retrieved"].index(12)].astype(int)  # of the tour of 12 frames and the first in view
    assert np.abs(tile - first).mean() < 10


def test_of_moves_that_come_faster_than_steps_the_newest_counts(visitor):
    start = visitor.open(**SEED)["pose"]
    for _ in range(30):
        visitor.say(type="move", action=LEFT)
    visitor.say(type="move", action=RIGHT)
    poses = []
    wait_until(lambda: poses.append(visitor.hear()["pose"]) or (len(poses) > 1 and poses[-1][3] < poses[-2][3]))
    assert len(poses) < 31
    assert abs(poses[-1][3] - start[3]) < 30 * np.radians(15)


def test_retrieval_changes_while_the_world_goes_on(visitor):
    visitor.open(**SEED)
    assert visitor.move(LEFT)["retrieved"]
    visitor.say(type="retrieve", retrieval="none")
    assert visitor.hear() == {"type": "retrieval", "retrieval": "none"}
    frame = visitor.move(LEFT)
    assert frame["retrieved"] == [] and frame["step"] == 2


def test_tasks_tell_of_their_goals(visitor):
    frame = visitor.open(task="point_goal", **SEED)
    assert len(frame["goal"]) == 2 and frame["task"]["distance_to_goal"] > 0
    frame = visitor.open(task="image_goal")
    assert from_png(frame["pictures"]["goal"]).shape == (48, 48, 3)
    assert visitor.open(task="explore")["task"]["seen_area"] > 0


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"type": "open", "style": "librar"}, "style='librar' is unknown. Did you mean 'library'?"),
        ({"type": "open", "model": "../../etc"}, "model='../../etc' is unknown."),
        ({"type": "open", "task": 7}, "task='int' is unknown"),
        ({"type": "open", "seed": -1}, "seed=-1 is out of range"),
        ({"type": "open", "seed": 1.5}, "seed=1.5 is a float"),
        ({"type": "retrieve", "retrieval": "fof"}, "Did you mean 'fov'?"),
        ({"type": "move", "action": [2, 0, 0, 0]}, "expected four numbers from -1 to 1"),
        ({"type": "move", "action": [1, 0, 0]}, "expected four numbers from -1 to 1"),
        ({"type": "sing"}, "type='sing' is unknown"),
    ],
)
def test_what_makes_no_sense_is_told_and_the_world_goes_on(visitor, message, text):
    visitor.open(**SEED)
    visitor.say(**message)
    error = visitor.hear()
    assert error["type"] == "error" and text in error["text"]
    assert visitor.move(LEFT)["step"] == 1


def test_before_a_world_is_open_there_is_nothing_to_move_save_or_film(visitor):
    visitor.say(type="move", action=LEFT)
    assert "no world yet" in visitor.hear()["text"]
    for path in ("/api/world", "/api/video"):
        status, _, body = visitor.ask("GET", path)
        assert status == 400 and "no world yet" in json.loads(body)["error"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_photograph_becomes_the_first_frame(visitor, kind):
    status, frame = visitor.upload("/api/photograph?fov=70", photograph(kind))
    assert status == 200 and frame["opened"]["kind"] == "photograph"
    assert frame["opened"]["fov"] < 70
    assert visitor.move(LEFT)["step"] == 1


def test_a_photograph_that_is_none_is_refused_and_the_world_stays(visitor, address):
    visitor.open(**SEED)
    for body, code, text in (
        (b"no picture", 400, "not a picture that can be read"),
        (photograph("GIF"), 400, "not a picture that can be read"),
        (photograph()[:100], 400, "not a picture that can be read"),
        *((bomb(side), 400, "the picture has more than 40 million pixels") for side in (7_000, 10_000, 100_000)),
        (b"", 400, "not a picture that can be read"),
    ):
        status, error = visitor.upload("/api/photograph", body)
        assert status == code and text in error
    # The answer comes before the body, which a browser would still be sending.
    status, _, body = ask(address, "POST", "/api/photograph", X_Visit=visitor.key, Content_Length=str(UPLOAD_BYTES + 1))
    assert status == 413 and "larger than 16 MB" in json.loads(body)["error"]
    assert visitor.welcome["offer"]["upload_bytes"] == UPLOAD_BYTES  # so that the page need not try
    status, error = visitor.upload("/api/photograph?fov=wide", photograph())
    assert (status, error) == (400, "fov: expected a number.")
    status, error = visitor.upload("/api/photograph?fov=nan", photograph())
    assert status == 400 and "fov=nan" in error
    assert visitor.move(LEFT)["step"] == 1
    visitor.open(task="image_goal")
    status, error = visitor.upload("/api/photograph", photograph())
    assert status == 400 and "image_goal" in error


def test_a_world_is_saved_and_goes_on_from_its_file_with_its_task_and_retrieval(visitor, address, untrained_model):
    visitor.open(task="explore", retrieval="recent", **SEED)
    visitor.move(LEFT)
    _, headers, world = visitor.ask("GET", "/api/world")
    assert headers["content-disposition"] == 'attachment; filename="world.ctxworld"'
    assert str(untrained_model.parent).encode() not in world
    gone_on = [visitor.move(action) for action in (FORWARD, LEFT)]
    with Visitor(address) as other:
        status, frame = other.upload("/api/world", world)
        assert status == 200 and frame["opened"]["kind"] == "file"
        choice = frame["opened"]["choice"]
        assert (choice["task"], choice["retrieval"]) == ("explore", "recent")
        for action, expected in zip((FORWARD, LEFT), gone_on, strict=True):
            assert np.array_equal(picture(other.move(action)), picture(expected))


def test_a_saved_world_opens_in_python(visitor, untrained_model, tmp_path):
    visitor.open(**SEED)
    seen = picture(visitor.move(LEFT))
    (tmp_path / "place.ctxworld").write_bytes(visitor.ask("GET", "/api/world")[2])
    env = gym.make(
        "CtxMemScene-v0",
        model=str(untrained_model),
        actions="continuous",
        observation="rgbd",
        sliding=True,
        memory_capacity=256,
    )
    env.reset(seed=0)
    observation, _ = env.unwrapped.load(tmp_path / "place.ctxworld")
    assert np.array_equal(observation["rgb"], seen)


def test_a_world_file_that_is_none_is_refused_without_a_word_of_the_host(visitor, tmp_path):
    visitor.open(**SEED)
    world = visitor.ask("GET", "/api/world")[2]
    path = tmp_path / "other.ctxworld"

    def change(facts, arrays):
        facts["settings"]["num_context"] = 3

    path.write_bytes(world)
    rewrite(path, change)
    large = tmp_path / "large.ctxworld"
    large.write_bytes(world)
    rewrite(large, lambda facts, arrays: arrays.update(path=np.zeros((12_000_000, 6), np.float32)))
    for body, text in (
        (b"no world", "the file is not a saved world"),
        (world[:-10], "the file is truncated or damaged"),
        (path.read_bytes(), "the file was saved with num_context=3"),
        (large.read_bytes(), "the file holds more than 256 MB"),
    ):
        status, error = visitor.upload("/api/world", body)
        assert status == 400 and error.startswith(text)
        assert "/tmp" not in error and str(tmp_path) not in error
    assert visitor.move(LEFT)["step"] == 1


def test_a_video_of_the_walk_is_made(visitor):
    visitor.open(**SEED)
    for _ in range(3):
        visitor.move(LEFT)
    status, headers, video = visitor.ask("GET", "/api/video")
    assert status == 200 and headers["content-type"] == "video/mp4"
    assert video[4:8] == b"ftyp" and len(video) > 1000


def test_nobody_reaches_the_world_of_somebody_else(visitor, address):
    visitor.open(**SEED)
    for key in ("", "0" * 22, visitor.key[:-1]):
        for method, path in (("GET", "/api/world"), ("POST", "/api/world"), ("GET", "/api/video")):
            status, _, body = ask(address, method, path, b"", X_Visit=key)
            assert status == 403 and "no place here" in json.loads(body)["error"]


def test_who_is_gone_leaves_nothing_behind(server, address):
    with Visitor(address) as one:
        one.open(**SEED)
        assert one.key in server.house.visitors
    wait_until(lambda: one.key not in server.house.visitors)


def test_messages_that_make_no_sense_end_the_connection_in_the_end(address):
    with Visitor(address) as one:
        for _ in range(21):
            one.socket.send("[")
        answers = []
        with pytest.raises(Exception, match="no sense"):
            while True:
                answers.append(one.hear())
        assert all("not JSON" in answer["text"] for answer in answers)


def test_messages_are_bounded(address):
    with Visitor(address) as one, pytest.raises(Exception, match="1009"):
        one.socket.send("x" * 5000)
        one.hear()


@pytest.mark.parametrize("text", [None, "", "{", "7", "[]", "{}", '{"type": []}', "[" * 4000, '{"type": "move"}x'])
def test_parse_refuses_what_is_no_message(text):
    with pytest.raises(ValueError, match=r"expected|unknown"):
        parse(text)


@pytest.mark.parametrize("action", [None, [], [True] * 4, ["1"] * 4, [float("nan")] * 4, [10**400, 0, 0, 0], {}])
def test_parse_action_refuses_what_is_no_action(action):
    with pytest.raises(ValueError, match="expected four numbers"):
        parse_action(action)


def test_a_large_photograph_is_made_small_before_it_is_used():
    assert max(read_photograph(photograph("JPEG", (3000, 1000))).size) == 1024


def test_a_house_that_is_full_says_so_and_takes_the_next_one_when_somebody_leaves(untrained_model):
    with served(untrained_model, Limits(visitors=1)) as serving:
        with Visitor(serving.address) as first:
            first.open(**SEED)
            with Visitor(serving.address) as second:
                assert second.welcome["text"] == "all 1 places are taken; try again in a minute."
                with pytest.raises(Exception, match="1013"):
                    second.hear()
            assert first.move(LEFT)["step"] == 1
        wait_until(lambda: not serving.house.visitors)
        with Visitor(serving.address) as third:
            assert third.open(**SEED)["step"] == 0


def test_who_is_idle_gives_way_to_somebody_who_comes(untrained_model):
    with served(untrained_model, Limits(visitors=1, yield_seconds=0.05)) as serving, Visitor(serving.address) as first:
        first.open(**SEED)
        visitor = serving.house.visitors[first.key]
        wait_until(lambda: visitor.heard < time.monotonic() - 0.1)
        with Visitor(serving.address) as second:
            assert second.open(**SEED)["step"] == 0
            assert "somebody else needed the place" in first.hear()["text"]


def test_who_is_idle_for_long_loses_the_place(untrained_model):
    with served(untrained_model, Limits(idle_seconds=0.2)) as serving, Visitor(serving.address) as one:
        one.open(**SEED)
        assert "nothing happened here" in one.hear()["text"]
        wait_until(lambda: not serving.house.visitors)
