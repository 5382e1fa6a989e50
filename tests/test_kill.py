"""Processes that are killed at any moment: what they had saved whole is there, and nothing else is taken for it."""

import json
import time

import pytest
from tqdm import tqdm

from ctxmem_env.selftest.kills import BOUNDS, child, kill_checkpoints, kill_training, kill_walks


def test_a_child_that_is_killed_with_the_lock_of_progress_bars_leaves_it_free_here(tmp_path):
    lock, held = tqdm.get_lock(), tmp_path / "held"

    def hold():
        with tqdm.get_lock():
            held.touch()
            time.sleep(60)

    with child(hold):
        while not held.exists():
            time.sleep(0.01)
    shared = lock.mp_lock
    assert shared.acquire(timeout=1)
    shared.release()


@pytest.mark.slow
@pytest.mark.parametrize("bound", BOUNDS.values(), ids=list(BOUNDS))
def test_a_walk_that_is_killed_a_hundred_times_goes_on_from_its_last_save(bound, tmp_path):
    """Twice a hundred in all. The walk that the kills cut into pieces must be the one that was never cut."""
    told = kill_walks(tmp_path, 100, bound)
    assert (told["kills"], told["lost"], told["taken"], told["different"]) == (100, 0, 0, 0)
    assert told["torn"] > 10  # kills came while files were written, too
    assert told["steps"] > 50
    assert [path.name for path in tmp_path.iterdir()] == ["walk.ctxworld"]


@pytest.mark.slow
def test_a_checkpoint_that_is_killed_while_it_is_written_is_the_one_before(tmp_path):
    assert kill_checkpoints(tmp_path, 20) == {"kills": 20, "lost": 0}


@pytest.mark.slow
def test_training_that_is_killed_twenty_times_ends_as_it_would_have(tmp_path):
    told = kill_training(tmp_path, 20)
    assert (told["kills"], told["lost"], told["different"]) == (20, 0, 0) and told["lives"] >= 3
    folders = (tmp_path / "whole", tmp_path / "cut")
    logs = [[json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()] for folder in folders]
    for log in logs:
        for record in log:
            record.pop("seconds")
    assert logs[0] == logs[1]
