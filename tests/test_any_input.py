"""Whatever is given for an argument, a reset option or an action: it is taken, or one ValueError names it."""

import inspect
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctxmem_env.env import GenerativeSceneEnv
from ctxmem_env.selftest.calls import small_env
from ctxmem_env.start import OPTIONS

ARGUMENTS = [name for name in inspect.signature(GenerativeSceneEnv.__init__).parameters if name != "self"]
NUMBERS = st.integers() | st.floats() | st.booleans()
ANYTHING = st.recursive(
    NUMBERS | st.none() | st.text(max_size=20) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
SHORT = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True, scope="module")
def no_network():
    """A name with a slash is one of the Hugging Face Hub, which is not asked here."""
    before = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"
    yield
    os.environ.pop("HF_HUB_OFFLINE") if before is None else os.environ.update(HF_HUB_OFFLINE=before)


@pytest.mark.parametrize("name", ARGUMENTS)
@given(value=ANYTHING)
@SHORT
def test_any_argument(name, value):
    try:
        small_env(**{name: value})
    except ValueError as error:
        assert name in str(error) or "memory_capacity" in str(error)


@pytest.mark.parametrize("name", OPTIONS)
@given(value=ANYTHING)
@SHORT
def test_any_reset_option(name, value):
    env = small_env(task="point_goal")
    if name == "tour" and type(value) is int and value > 3:
        value = 3  # more of them take their time, which is what was asked for
    try:
        env.reset(seed=0, options={name: value})
    except ValueError as error:
        assert name in str(error)


@pytest.mark.parametrize("actions", ["discrete", "continuous"])
@given(values=st.lists(ANYTHING, max_size=4))
@SHORT
def test_any_action(actions, values):
    env = small_env(actions=actions)
    env.reset(seed=0)
    for value in values:
        steps = len(env._track)
        try:
            env.step(value)
        except ValueError as error:
            assert "action" in str(error) and len(env._track) == steps
