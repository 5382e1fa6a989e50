"""Retrieval strategies of one's own: by name or as they are, defined again, and what they may return."""

import functools

import numpy as np
import pytest
import torch
from helpers import make as make_env
from test_retrieval import pose, select, walk

from ctxmem_env import retrieval
from ctxmem_env.retrieval import RETRIEVAL, register_retrieval


def test_a_strategy_of_ones_own_works_by_name_and_as_it_is(monkeypatch):
    monkeypatch.setattr(retrieval, "RETRIEVAL", dict(RETRIEVAL))

    @register_retrieval("second")
    def second(query):
        return torch.ones(len(query.pose), query.num_context, dtype=torch.int64)

    assert select("second", walk(5), pose(), 2) == select(second, walk(5), pose(), 2) == [1, 1]
    with pytest.raises(ValueError, match="retrieval='second' is already registered; choose another name"):
        register_retrieval("second")(second)
    with pytest.raises(ValueError, match=r"gave indices .*\[\[1, 1\]\]; expected \(1, 2\), each -1 or below"):
        select("second", walk(1), pose(), 2)


def test_a_name_that_forgets_leaves_the_strategy_itself_as_it_is(monkeypatch):
    monkeypatch.setattr(retrieval, "RETRIEVAL", dict(RETRIEVAL))

    class Some:
        def choose(self, query):
            return RETRIEVAL["fov"](query)

    register_retrieval("forgetful fov", forgets=True)(RETRIEVAL["fov"])
    register_retrieval("forgetful method", forgets=True)(Some().choose)
    told = [retrieval.forgets(one) for one in ("fov", RETRIEVAL["fov"], "forgetful fov", "forgetful method")]
    assert told == [False, False, True, True]
    assert select("forgetful fov", walk(9), pose(), 3) == select("fov", walk(9), pose(), 3)


def test_a_strategy_that_is_defined_again_takes_the_place_of_the_earlier_one(monkeypatch):
    monkeypatch.setattr(retrieval, "RETRIEVAL", dict(RETRIEVAL))

    def run_cell(back, name="mine", function="mine", module="__main__"):
        cell = f"@register_retrieval('{name}')\ndef {function}(query): return query.lengths[:, None] - {back}"
        exec(cell, {"__name__": module, "register_retrieval": register_retrieval})

    run_cell(1)
    with pytest.warns(
        UserWarning, match="retrieval='mine' was registered before; the new definition of mine takes its"
    ):
        run_cell(2)
    assert select("mine", walk(5), pose(), 1) == [3]
    for other in ({"module": "elsewhere"}, {"function": "yours"}, {"name": "fov"}):
        with pytest.raises(ValueError, match=r"retrieval='(mine|fov)' is already registered; choose another name"):
            run_cell(3, **other)
    with pytest.raises(ValueError, match="retrieval='fov' is already registered; choose another name"):
        register_retrieval("fov")(functools.wraps(RETRIEVAL["fov"])(lambda query: None))
    assert select("mine", walk(5), pose(), 1) == [3] and retrieval.RETRIEVAL["fov"] is RETRIEVAL["fov"]


@pytest.mark.parametrize(
    ("make", "came"),
    [
        (torch.Tensor.numpy, "a ndarray"),
        (torch.Tensor.tolist, "a list"),
        (lambda indices: None, "a NoneType"),
        (torch.Tensor.float, r"a tensor of torch\.float32"),
        (torch.Tensor.bool, r"a tensor of torch\.bool"),
    ],
)
def test_a_strategy_that_gives_no_indices_is_named_and_the_world_stays(make, came):
    def newest(query):
        indices = (query.lengths[:, None] - 1).expand(-1, query.num_context)
        return make(indices) if newest.wrong else indices

    env, undisturbed = (make_env(retrieval=newest) for _ in range(2))
    newest.wrong = False
    env.reset(seed=0), undisturbed.reset(seed=0)
    newest.wrong = True
    expected = rf"retrieval=<function .*newest.*> gave {came}; expected a tensor of torch\.int64 of shape \(1, 8\)"
    with pytest.raises(ValueError, match=expected):
        env.step(1)
    newest.wrong = False
    np.testing.assert_array_equal(env.step(1)[0], undisturbed.step(1)[0])
