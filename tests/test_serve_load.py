"""The server in a crowd of bad clients: good ones are served, and nothing of the others is left."""

import asyncio
import gc
import os
import socket
import threading
import time
from urllib.parse import urlsplit

import numpy as np
import pytest
from served import FORWARD, STAY, Socket, Visitor, house_of, served, wait_until

from ctxmem_env.selftest.crowd import KINDS, SECRETS, Crowd, Walker, crowd_at
from ctxmem_env.viewer import app, rounds
from ctxmem_env.viewer import house as house_module
from ctxmem_env.viewer.limits import Bucket, Limits
from ctxmem_env.viewer.pictures import png
from ctxmem_env.viewer.visit import Visit
from ctxmem_env.viewer.visitor import Visitor as Served


@pytest.fixture(scope="module")
def serving(untrained_model):
    with served(untrained_model, Limits(visitors=6, fps=100)) as serving:
        yield serving


def descriptors():
    return len(os.listdir("/proc/self/fd"))


async def walk_in_a_crowd(address, clients, seconds, **crowd):
    """Two walkers for so long, and what the crowd around them did."""
    walkers = [await Walker(address).open() for _ in range(2)]
    until = time.monotonic() + seconds
    told, *_ = await asyncio.gather(
        crowd_at(address, clients, seconds, 400, 40, 0, **crowd), *(walker.walk(until) for walker in walkers)
    )
    for walker in walkers:
        await walker.socket.close()
    return walkers, told


def nothing_is_left(serving):
    house, state = serving.house, serving._server.server_state
    return not (house.visitors or house._tasks or state.connections or state.tasks)


@pytest.mark.slow
def test_in_a_crowd_good_visitors_are_served_and_nothing_of_the_crowd_is_left(serving, caplog):
    own = threading.active_count()  # the test's, the server's, and what other tests left
    asyncio.run(walk_in_a_crowd(serving.address, 8, 2))
    wait_until(lambda: nothing_is_left(serving), 20)
    before = descriptors()
    walkers, told = asyncio.run(walk_in_a_crowd(serving.address, 40, 20))
    assert told["connections"] > 150 and told["messages"] > 1000
    assert all(f"{kind} ended" in told for kind in KINDS), told
    for walker in walkers:
        assert walker.steps > 30 and walker.slowest < 5
        assert not walker.leaks
    assert told["leaks"] == {}
    wait_until(lambda: nothing_is_left(serving), 20)
    gc.collect()
    assert descriptors() <= before
    assert threading.active_count() <= own + 6 + 2  # those that step, those that work
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_client_is_served_and_forgotten(serving, kind):
    """As whole clients of `Crowd`, for a moment."""
    told = asyncio.run(crowd_at(serving.address, 3, 0.4, 1000, 100, 0, kinds=(kind,)))
    assert told["connections"] >= 3 and told["leaks"] == {}
    wait_until(lambda: nothing_is_left(serving), 20)
    with Visitor(serving.address) as one:
        assert one.open(seed=0)["step"] == 0
    wait_until(lambda: nothing_is_left(serving))


def test_what_nobody_should_be_told_is_found_where_it_is_told():
    async def tell():
        answers = iter([b"ok", SECRETS[0] + b" (most recent call last)", b""])

        async def read():
            return next(answers)

        crowd = Crowd("http://127.0.0.1:1/", 1, 1, 0)
        await crowd.listen(read)
        return crowd.leaks

    assert asyncio.run(tell()) == {"Traceback": 1}


@pytest.fixture
def gate(monkeypatch):
    """Openings of worlds wait for it; it counts those that began."""
    event, opened = threading.Event(), []
    whole = Visit.open

    def open_later(self, choice):
        opened.append(choice.seed)
        assert event.wait(20)
        return whole(self, choice)

    monkeypatch.setattr(Visit, "open", open_later)
    event.opened = opened
    yield event
    event.set()


def test_a_place_is_free_when_nothing_is_done_for_it_any_more(untrained_model, gate):
    gate.set()
    with served(untrained_model, Limits(visitors=1)) as serving:
        gate.clear()
        with Visitor(serving.address) as one:
            one.say(type="open", seed=1)
            wait_until(lambda: 1 in gate.opened)
            one.socket.socket.close()
        time.sleep(0.2)
        with Visitor(serving.address) as other:
            assert "places are taken" in other.welcome["text"]
        gate.set()
        wait_until(lambda: not serving.house.visitors)
        with Visitor(serving.address) as other:
            assert other.open(seed=2)["step"] == 0


def test_what_a_visitor_does_not_wait_for_is_not_begun(untrained_model, gate):
    gate.set()
    with served(untrained_model, Limits(visitors=4)) as serving:
        gate.clear()
        visitors = [Visitor(serving.address) for _ in range(4)]
        for seed, one in enumerate(visitors, 1):
            one.say(type="open", seed=seed)
        wait_until(lambda: len(gate.opened) == 3)  # warming up, and one in each of two threads
        for one in visitors:
            one.socket.socket.close()
        wait_until(lambda: all(visitor.gone for visitor in serving.house.visitors.values()))
        gate.set()
        wait_until(lambda: nothing_is_left(serving))
        assert len(gate.opened) == 3


def test_who_comes_again_opens_no_more_than_who_stays(untrained_model, monkeypatch):
    monkeypatch.setattr(house_module, "_OPENINGS", 1 / 100)
    with served(untrained_model, Limits(visitors=1)) as serving:
        for _ in range(house_module._AT_ONCE):
            with Visitor(serving.address) as one:
                assert one.open(seed=0)["step"] == 0
            wait_until(lambda: nothing_is_left(serving))
        for _ in range(3):  # who does not wait leaves nothing behind, and makes the next one wait no longer
            with Visitor(serving.address) as one:
                one.say(type="open", seed=0)
                with pytest.raises(TimeoutError):
                    one.hear(timeout=0.3)
            wait_until(lambda: nothing_is_left(serving))
        (place,) = serving.house._places
        assert 0 < place.take() < 105


def test_a_visitor_uploads_or_downloads_one_thing_at_a_time(serving):
    with Visitor(serving.address) as one, Visitor(serving.address) as other:
        one.open(seed=0)
        other.open(seed=1)
        visitor = serving.house.visitors[one.key]
        with served_upload(one) as upload:
            wait_until(visitor.transfer.locked)
            for path in ("/api/world", "/api/video"):
                status, _, body = one.ask("GET", path)
                assert status == 409 and b"uploaded or downloaded here already" in body
            assert one.move(FORWARD)["step"] == 1  # while it lasts
            assert other.ask("GET", "/api/world")[0] == 200
            upload.sendall(b"no picture")
            answer = b"".join(iter(lambda: upload.recv(4096), b""))  # it may come in pieces, up to the end
            assert b"not a picture" in answer
        wait_until(lambda: not visitor.transfer.locked())
        assert one.ask("GET", "/api/world")[0] == 200
        assert one.move(STAY)["step"] == 2


def served_upload(visitor):
    """A socket on which an upload of ten bytes has begun."""
    upload = socket.create_connection(("127.0.0.1", urlsplit(visitor.address).port), timeout=20)
    head = f"POST /api/photograph HTTP/1.1\r\nHost: localhost\r\nX-Visit: {visitor.key}\r\nContent-Length: 10\r\n\r\n"
    upload.sendall(head.encode())
    return upload


def test_an_upload_that_is_broken_off_makes_way_for_the_next_one_and_is_no_error(serving, caplog):
    with Visitor(serving.address) as one:
        one.open(seed=0)
        visitor = serving.house.visitors[one.key]
        with served_upload(one) as upload:
            upload.sendall(b"x")  # and not the rest
            wait_until(visitor.transfer.locked)
        wait_until(lambda: not visitor.transfer.locked())
        assert one.ask("GET", "/api/world")[0] == 200
    wait_until(lambda: nothing_is_left(serving))
    assert not [record for record in caplog.records if record.exc_info]


def test_a_frame_that_is_shown_while_another_is_on_its_way_is_sent_too_after_the_texts_before_it():
    async def go():
        socket = Socket()
        visitor = Served(socket, None, Bucket(1, 1))
        sending = asyncio.create_task(visitor.send())
        visitor.show(b"a step in the old world")
        await socket.begun.wait()
        visitor.tell(type="retrieval")
        visitor.show(b"the new world")
        socket.taken.set()
        async with asyncio.timeout(10):
            sent = [await socket.sent.get() for _ in range(3)]
        sending.cancel()
        return sent

    assert asyncio.run(go()) == [b"a step in the old world", "retrieval", b"the new world"]


def test_while_a_photograph_is_opened_others_step_and_what_was_wished_before_is_not_done_in_it():
    async def go():
        async with house_of(2) as (house, (one, other)):
            one.wish = other.wish = STAY

            async def step():
                await one.work(house.workers, str)
                await house.rounds.run()  # begins before the photograph, which waits, gets the lock that is free now

            running = asyncio.create_task(step())
            opening = asyncio.create_task(app._show(house, one, one.visit.wait, "photograph"))
            in_time = await asyncio.to_thread(other.visit.stepped.wait, 5)
            one.visit.gate.set()
            await opening
            await a_round(house)
            running.cancel()
            return in_time, one.visit.done, one.wish

    assert asyncio.run(go()) == (True, ["photograph"], None)


def test_a_photograph_is_opened_for_the_task_of_the_world_that_was_opened_before_it(untrained_model, gate):
    gate.set()
    with served(untrained_model) as serving, Visitor(serving.address) as one:
        one.open(seed=0)
        gate.clear()
        one.say(type="open", seed=1, task="explore")
        wait_until(lambda: 1 in gate.opened)
        picture = png(np.zeros((40, 40, 3), np.uint8))
        upload = threading.Thread(target=one.ask, args=("POST", "/api/photograph", picture))
        upload.start()
        wait_until(lambda: serving.house.visitors[one.key]._pending == 2)
        gate.set()
        tasks = [(opened["kind"], opened["choice"]["task"]) for opened in (one.hear()["opened"], one.hear()["opened"])]
        upload.join()
    assert tasks == [("scene", "explore"), ("photograph", "explore")]


def test_a_wish_that_waits_for_other_work_is_carried_out_as_soon_as_that_is_done(monkeypatch):
    monkeypatch.setattr(rounds, "_LATER", 1e6)

    async def go():
        async with house_of(1) as (house, (one,)):
            running = asyncio.create_task(house.rounds.run())
            retrieving = asyncio.create_task(house._retrieve(one, "none"))
            assert await asyncio.to_thread(one.visit.begun.wait, 10)
            await wish_in_vain(house, one)
            one.visit.gate.set()
            await a_round(house)
            await retrieving
            running.cancel()
            return one.visit.done

    assert asyncio.run(go()) == ["none", "step"]


def test_a_wish_that_waits_for_a_frame_to_be_taken_is_carried_out_as_soon_as_it_is(monkeypatch):
    monkeypatch.setattr(rounds, "_LATER", 1e6)

    async def go():
        async with house_of(1) as (house, (one,)):
            tasks = [asyncio.create_task(house.rounds.run()), asyncio.create_task(one.send())]
            one.show(b"frame")
            await one.websocket.begun.wait()
            await wish_in_vain(house, one)
            one.websocket.taken.set()
            await a_round(house)
            for task in tasks:
                task.cancel()

    asyncio.run(go())


async def a_round(house):
    """Until one is over."""
    async with asyncio.timeout(10):
        while not house.rounds.count:
            await asyncio.sleep(0.005)


async def wish_in_vain(house, visitor):
    """A wish that the rounds have seen and cannot carry out yet."""
    visitor.wish = STAY
    house.rounds.wake()
    while house.rounds._changed.is_set():
        await asyncio.sleep(0)
    assert visitor.wish is STAY
