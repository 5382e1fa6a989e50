"""Processes that are killed at any moment: what they had saved whole is there, and nothing else is taken for it."""

import dataclasses
import json
import os
import signal
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from batches import assert_same
from helpers import make
from test_training import CONFIG

from ctxmem_env.training.checkpoint import load_checkpoint, save_checkpoint
from ctxmem_env.training.train import train

pytestmark = pytest.mark.slow
ACTIONS = np.random.default_rng(0).integers(0, 9, 100_000).tolist()


@contextmanager
def child(work):
    """A process, forked from this one so that nothing is imported again, which does `work` until it is killed."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(1)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL  # it did not end by itself


def open_env(bound):
    env = make(observation="dict", task="explore", **bound).unwrapped
    env.reset(seed=0)
    return env


def wait_for_saves(path, count, timeout=60):
    """Until the file has been replaced so many times."""
    end, seen = time.monotonic() + timeout, set()
    while len(seen) <= count and time.monotonic() < end:
        status = path.stat()  # asked once: of two answers each could be of another file
        seen.add((status.st_ino, status.st_mtime_ns))
        time.sleep(0.0005)
    assert len(seen) > count


@pytest.mark.parametrize("bound", [{}, {"memory_capacity": 40, "eviction": "reservoir"}], ids=["unbounded", "bounded"])
def test_a_walk_that_is_killed_a_hundred_times_goes_on_from_its_last_save(bound, tmp_path):
    """Twice a hundred in all. The walk that the kills cut into pieces must be the one that was never cut."""
    path, rng = tmp_path / "walk.ctxworld", np.random.default_rng(1)
    env, other, steps, torn = open_env(bound), open_env(bound), 0, 0
    env.save(path)
    begun = time.monotonic()
    env.save(path)
    moments = 4 * (time.monotonic() - begun)

    def walk_and_save():
        for action in ACTIONS[steps:]:
            env.step(action)
            env.save(path)

    for _ in range(100):
        least = int(rng.integers(3))
        with child(walk_and_save):
            wait_for_saves(path, least)
            time.sleep(float(rng.uniform(0, moments)))
        env.load(path)
        assert len(env._path) - 1 >= steps + least
        steps = len(env._path) - 1
        for rest in tmp_path.glob(".walk.ctxworld.*.tmp"):
            try:
                other.load(rest)
            except ValueError as error:
                torn += 1
                assert "is truncated or damaged" in str(error) or "is not a saved world" in str(error)
            else:  # whole, but for its name
                assert len(other._path) - 1 == steps + 1
            rest.unlink()
        assert list(tmp_path.iterdir()) == [path]
    assert torn > 10  # kills came while files were written, too
    whole = open_env(bound)
    for action in ACTIONS[:steps]:
        whole.step(action)
    for action in ACTIONS[steps : steps + 10]:
        assert_same(env.step(action), whole.step(action))


def test_a_checkpoint_that_is_killed_while_it_is_written_is_the_one_before(tmp_path):
    path, rng, last = tmp_path / "latest.safetensors", np.random.default_rng(0), 0
    save_checkpoint(path, {"weights": torch.zeros(1_000_000)}, {"step": 0})

    def save_and_save():
        for step in range(last + 1, last + 10_000):
            save_checkpoint(path, {"weights": torch.full((1_000_000,), float(step))}, {"step": step})

    for _ in range(20):
        with child(save_and_save):
            wait_for_saves(path, 1)
            time.sleep(float(rng.uniform(0, 0.03)))
        tensors, facts = load_checkpoint(path)
        assert facts["step"] > last and bool((tensors["weights"] == facts["step"]).all())
        last = facts["step"]


def test_training_that_is_killed_twenty_times_ends_as_it_would_have(tmp_path):
    config = dataclasses.replace(CONFIG, checkpoint_every=1, validate_every=12)
    train(config, tmp_path / "whole", quiet=True)
    out, rng = tmp_path / "cut", np.random.default_rng(0)
    latest = out / "latest.safetensors"
    steps, lives = [0], 0
    for _ in range(20):
        with child(lambda: (train(config, out, quiet=True), time.sleep(60))):
            time.sleep(float(rng.uniform(0.3, 1.2)))
        if latest.exists():
            steps.append(load_checkpoint(latest)[1]["step"])  # the file is whole
            lives += steps[-1] > steps[-2]
    assert steps == sorted(steps) and lives >= 3
    train(config, out, quiet=True)
    one, other = (load_checkpoint(folder / "latest.safetensors")[0] for folder in (tmp_path / "whole", out))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    logs = [
        [json.loads(line) for line in (f / "log.jsonl").read_text().splitlines()] for f in (tmp_path / "whole", out)
    ]
    for log in logs:
        for record in log:
            record.pop("seconds")
    assert logs[0] == logs[1]
