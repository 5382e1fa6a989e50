"""`ctxmem serve`: how it begins and ends, and who may come in."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
from served import FORWARD, LEFT, Visitor, ask, served
from websockets.exceptions import InvalidStatus

from ctxmem_env.cli import Serve
from ctxmem_env.cli.serve import serve_command
from ctxmem_env.viewer.choice import Offer
from ctxmem_env.viewer.guard import PROTOCOL
from ctxmem_env.viewer.limits import Limits
from ctxmem_env.viewer.server import Serving

TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="module")
def guarded(untrained_model):
    """A server that others than this machine reach."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CTXMEM_TOKEN", TOKEN)
        with served(untrained_model, host="0.0.0.0", hosts=("worlds.example",)) as serving:
            patch.undo()
            yield serving.address.replace("0.0.0.0", "127.0.0.1")


def wait_until_it_listens(address):
    """The address is told a moment before; 30 s at most."""
    end = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", int(re.search(r":(\d+)/", address)[1])), timeout=1).close()
            return
        except ConnectionRefusedError:
            assert time.monotonic() < end, address
            time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_the_command_tells_its_address_and_ends_with_one_line_of_json(untrained_model, number):
    command = [sys.executable, "-m", "ctxmem_env", "serve", "--port", "0", "--models", str(untrained_model)]
    environment = {name: value for name, value in os.environ.items() if name != "CTXMEM_TOKEN"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env=environment, **pipes) as process:  # which closes them
        try:
            line = next(line for line in process.stderr if "http" in line)  # nothing else may hold it up
            address = re.fullmatch(r"ctxmem: (http://127\.0\.0\.1:\d+/)\n", line)[1]
            wait_until_it_listens(address)
            with Visitor(address) as one:
                one.open(seed=0)
                one.move(LEFT)
                process.send_signal(number)
                out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0 and "Traceback" not in err, err
    assert len(out.splitlines()) == 1
    results = json.loads(out)
    assert results["address"] == address and results["steps"] == results["visitors"] == 1


def test_on_any_other_address_there_is_a_token_and_without_it_nobody_comes_in(guarded):
    assert guarded.endswith("#" + TOKEN)
    assert ask(guarded)[0] == 200  # the page itself, which asks for the token
    for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {TOKEN}x"}):
        status, _, body = ask(guarded, path="/api/offer", **given)
        assert status == 401 and "token is missing or wrong" in json.loads(body)["error"]
    assert ask(guarded, path="/api/offer", Authorization=f"Bearer {TOKEN}")[0] == 200
    for token in (None, "wrong", TOKEN[:-1]):
        with pytest.raises(InvalidStatus, match="403"), Visitor(guarded, token):
            pass
    with Visitor(guarded, TOKEN) as one:
        assert one.socket.subprotocol == PROTOCOL
        one.open(seed=0)
        assert one.move(FORWARD)["step"] == 1


def test_a_token_is_drawn_where_none_is_given_and_on_loopback_there_is_none(untrained_model, monkeypatch):
    monkeypatch.delenv("CTXMEM_TOKEN", raising=False)
    offer = Offer([str(untrained_model)])
    one, other = (Serving(offer, Limits(), "0.0.0.0", 0) for _ in range(2))
    tokens = {serving.address.partition("#")[2] for serving in (one, other)}
    assert len(tokens) == 2 and all(len(token) >= 32 for token in tokens)
    local = Serving(offer, Limits(), "127.0.0.1", 0)
    assert "#" not in local.address
    for serving in (one, other, local):
        serving._listener.close()


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1.evil.example"]
)
def test_pages_from_elsewhere_reach_nothing(guarded, origin):
    status, _, body = ask(guarded, path="/api/offer", Origin=origin, Authorization=f"Bearer {TOKEN}")
    assert status == 403 and "from elsewhere" in json.loads(body)["error"]
    with pytest.raises(InvalidStatus, match="403"), Visitor(guarded, TOKEN, origin=origin):
        pass


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
        ("[::1", 421),
        ("worlds.example", 200),
        ("WORLDS.example:8000", 200),
        ("localhost", 200),
        ("192.0.2.7:8000", 200),
    ],
)
def test_a_name_that_was_made_to_lead_here_is_not_served(guarded, host, status):
    assert ask(guarded, Host=host)[0] == status


def test_on_loopback_no_address_of_another_machine_is_served(untrained_model):
    with served(untrained_model) as serving:
        assert ask(serving.address, Host="192.0.2.7")[0] == 421
        assert ask(serving.address, Host="127.0.0.1:9999")[0] == 200  # as through a tunnel
        with Visitor(serving.address, origin=serving.address.rstrip("/")) as one:
            assert one.open(seed=0)["step"] == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"port": 70000}, "port=70000 is out of range"),
        ({"host": "192.0.2.1"}, "nobody can listen there"),
        ({"visitors": 0}, "visitors=0 is out of range"),
        ({"fps": 0.0}, "fps=0.0; expected steps a second"),
        ({"idle_minutes": 0.0}, "idle_minutes=0.0; expected minutes"),
        ({"models": ()}, "models is empty"),
        ({"models": ("nano", "nano")}, "holds two of one name"),
        ({"models": ("nono",)}, "model='nono' is unknown. Did you mean 'nano'?"),
        ({"memory_capacity": 5}, "memory_capacity=5 is out of range"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        serve_command(Serve(**options))


def test_a_weak_token_is_refused(monkeypatch, untrained_model):
    monkeypatch.setenv("CTXMEM_TOKEN", "secret")
    with pytest.raises(ValueError, match="CTXMEM_TOKEN is no token; expected 16 to 128 letters"):
        serve_command(Serve(models=(str(untrained_model),), port=0))


def test_without_the_extra_the_command_says_what_to_install(monkeypatch, untrained_model):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ValueError, match=re.escape("pip install 'ctxmem-env[serve]'")):
        serve_command(Serve(models=(str(untrained_model),)))
