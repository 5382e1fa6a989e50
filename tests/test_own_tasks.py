"""Tasks of one's own: by name or as a class, defined again, and what they may return."""

import pickle

import numpy as np
import pytest
import torch
from batches import N, assert_same, make_sync, make_vec, walk
from helpers import FORWARD, Escape, make

from ctxmem_env import tasks
from ctxmem_env.parallel import parallel_env
from ctxmem_env.tasks import TASKS, Task, register_task
from ctxmem_env.tasks.task import check_evaluation
from ctxmem_env.testing import PoseGenerator

STAY = 0


def test_a_task_of_ones_own_is_known_by_its_name_and_pays(monkeypatch):
    monkeypatch.setattr(tasks, "TASKS", dict(TASKS))

    @register_task("height")
    class Height(Task):
        """Pays the height of the camera, once."""

        def evaluate(self, poses, frames, depth):
            return poses[:, 2], torch.ones(len(poses), dtype=torch.bool)

    env = make(task="height")
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step(STAY)
    assert reward == pytest.approx(float(info["pose"][2])) and terminated
    with pytest.raises(ValueError, match="task='height' is already registered; choose another name"):
        register_task("height")(Height)


REWARD, ENDED = torch.zeros(N), torch.zeros(N, dtype=torch.bool)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (
            (REWARD[:, None], ENDED),
            r"a reward of torch\.float32, shape \(3, 1\), on cpu; expected a tensor of floats, sh",
        ),
        (
            (REWARD, ENDED[:, None]),
            r"a termination of torch\.bool, shape \(3, 1\), on cpu; expected a tensor of torch\.b",
        ),
        (
            (REWARD, REWARD),
            r"a termination of torch\.float32, shape \(3,\), on cpu; expected a tensor of torch\.bool, sh",
        ),
        (
            (ENDED, ENDED),
            r"a reward of torch\.bool, shape \(3,\), on cpu; expected a tensor of floats, shape \(3,\), one",
        ),
        ((REWARD.to("meta"), ENDED), r"a reward of torch\.float32, shape \(3,\), on meta; expected .* on cpu\."),
        (
            (0.5, ENDED),
            r"a reward that is a float; expected a tensor of floats, shape \(3,\), one for each world, on c",
        ),
        (
            (REWARD, False),
            r"a termination that is a bool; expected a tensor of torch\.bool, shape \(3,\), one for each",
        ),
        ((REWARD,), r"1 values; expected a reward and a termination, tensors of shape \(3,\)\."),
        (REWARD, r"a Tensor; expected a reward and a termination, tensors of shape \(3,\)\."),
    ],
)
def test_what_is_no_reward_or_termination_is_refused_by_every_environment(told, message):
    class Odd(Task):
        def evaluate(self, poses, frames, depth):
            if not isinstance(told, tuple):
                return told
            return tuple(part[: len(poses)] if isinstance(part, torch.Tensor) else part for part in told)

    one, batch = make(task=Odd), make_vec(task=Odd)
    cameras = parallel_env(num_cameras=N, model=PoseGenerator(), tour=2, task=Odd)
    acting = (one, STAY), (batch, np.full(N, STAY)), (cameras, dict.fromkeys(cameras.possible_agents, STAY))
    for env, action in acting:
        env.reset(seed=0)
        expected = message if env is not one else message.replace(r"\(3", r"\(1")
        with pytest.raises(ValueError, match=f"^evaluate of the task Odd gave {expected}"):
            env.step(action)


def test_rewards_on_another_device_are_not_waited_for():
    poses = torch.zeros(N, 6, device="meta")  # there is nothing to read
    reward, ended = check_evaluation(Task(), Task().evaluate(poses, None, None), poses)
    assert reward.device.type == ended.device.type == "meta"
    with pytest.raises(ValueError, match=r"a reward of torch\.float32, shape \(3, 1\), on meta; expected .* on meta"):
        check_evaluation(Task(), (reward[:, None], ended), poses)


def test_a_class_is_a_task_without_a_name(tmp_path):
    env, named = make(task=Escape, reward="sparse"), make(task="roam")
    assert not env.unwrapped.settings.task.dense
    batch = walk(make_vec(task=Escape, tour=5), seed=5, steps=5)
    assert_same(batch, walk(make_sync(task=Escape, tour=5), seed=5, steps=5))
    env.reset(seed=0)
    twin = pickle.loads(pickle.dumps(env))
    path = env.unwrapped.save(tmp_path / "a.ctxworld")
    again = make(task=Escape, reward="sparse")
    again.reset(seed=3)
    again.unwrapped.load(path)
    expected = env.step(FORWARD)
    assert expected[1] > 0
    assert_same(twin.step(FORWARD), expected)
    assert_same(again.step(FORWARD), expected)
    named.reset(seed=0)
    with pytest.raises(ValueError, match="saved with task='the class Escape', and this environment has task='roam'"):
        named.unwrapped.load(path)


def test_a_saved_world_goes_on_under_the_name_that_its_class_is_known_by(tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "TASKS", {**TASKS, "escape": Escape})
    env = make(task=Escape)
    env.reset(seed=0)
    saved = env.unwrapped.save(tmp_path / "saved.ctxworld")
    named = make(task="escape")
    named.reset(seed=1)
    named.unwrapped.load(saved)


def test_an_object_in_place_of_the_class_of_a_task_is_refused():
    message = r"task is an object of Escape; every environment makes its own, so pass the class, task=Escape\."
    with pytest.raises(ValueError, match=message):
        make(task=Escape())


def test_a_task_that_is_defined_again_takes_the_place_of_the_earlier_one(monkeypatch):
    monkeypatch.setattr(tasks, "TASKS", dict(TASKS))

    def run_cell(value, name="worth"):
        @register_task(name)
        class Worth(Task):
            def evaluate(self, poses, frames, depth):
                return torch.full_like(poses[:, 0], value), poses[:, 0] > 9

    run_cell(1.0)
    before = make(task="worth")
    with pytest.warns(
        UserWarning, match=r"task='worth' was registered before; the new definition of .*Worth takes its"
    ):
        run_cell(2.0)
    envs = before, make(task="worth")
    for env in envs:
        env.reset(seed=0)
    assert [env.step(STAY)[1] for env in envs] == [1, 2]
    with pytest.raises(ValueError, match="task='roam' is already registered; choose another name"):
        run_cell(3.0, "roam")
    with pytest.raises(ValueError, match="task='worth' is already registered; choose another name"):
        register_task("worth")(type("Other", (Task,), {}))
