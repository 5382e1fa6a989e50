"""What generators and tasks must keep: those of the package keep it, and whoever breaks one thing is told which."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from ctxmem_env.evaluation.baselines import CopyGenerator, WarpGenerator
from ctxmem_env.generator import Generated, load_generator
from ctxmem_env.scenes import build_scene, stack_scenes
from ctxmem_env.tasks import REWARDS, TASKS, Task, make_task
from ctxmem_env.testing import PoseGenerator, check_generator, check_task
from ctxmem_env.true_scene import TrueSceneGenerator

SIZE = 48


def true_renderer(worlds):
    generator = TrueSceneGenerator(SIZE, SIZE)
    for world in range(worlds):
        generator.enter(stack_scenes([build_scene(world)]), world, worlds)
    return generator


@pytest.mark.parametrize("which", ["newest", "best"])
def test_copies_of_remembered_frames_conform(which):
    check_generator(CopyGenerator(which, 24, 40))


def test_the_generator_of_the_tests_conforms():
    check_generator(PoseGenerator())


@pytest.mark.parametrize("worlds", [1, 2])
def test_the_exact_renderer_conforms(worlds):
    check_generator(true_renderer(worlds), num_worlds=[worlds])


def test_an_untrained_transformer_and_its_warp_conform(untrained_model):
    generator = load_generator(str(untrained_model), "cpu")
    check_generator(generator)
    check_generator(WarpGenerator(generator))


def test_the_packaged_transformer_conforms():
    check_generator(load_generator("nano", "cpu"))


class Broken(CopyGenerator):
    """Copies, and breaks one thing."""

    def __init__(self, **broken):
        super().__init__("newest", 24, 24)
        self.calls = 0
        self.__dict__.update(broken)

    def encode(self, frames, depth, poses, fov):
        return {"mean": frames.float().mean((1, 2))}

    def generate(self, poses, context, fov, num_steps, generators):
        noise = torch.stack([torch.rand((), generator=generator) for generator in generators])
        view = super().generate(poses, context, fov, num_steps, generators)
        frames = view.frames.clone()
        frames[:, 0, 0] = (255 * noise).to(torch.uint8)[:, None]
        return Generated(frames, view.depth, view.own_weight)


class ClassOfSizes(Broken):
    """Tells of its frames before it is made."""

    height = width = 24


def then(change):
    """A `generate` whose view is changed."""

    def generate(self, poses, context, fov, num_steps, generators):
        view = Broken.generate(self, poses, context, fov, num_steps, generators)
        self.calls += 1
        change(self, view, context)
        return view

    return type("Changed", (Broken,), {"generate": generate})()


def set_frames(make):
    return then(lambda self, view, context: setattr(view, "frames", make(self, view, context)))


def test_the_one_that_is_to_be_broken_conforms():
    check_generator(Broken())


@pytest.mark.parametrize(
    ("generator", "message"),
    [
        (object(), "object has no height; see ctxmem_env.generator.Generator"),
        (ClassOfSizes, r"^ClassOfSizes is a class; pass an instance, ClassOfSizes\(\)\.$"),
        (Broken(height=24.0), r"Broken.height is 24.0; expected an integer of at least 1"),
        (Broken(default_num_steps=0), r"Broken.default_num_steps is 0; expected an integer"),
        (Broken(takes_text="yes"), r"Broken.takes_text is 'yes'; expected True or False"),
        (Broken(num_attended=0), r"Broken.num_attended is 0; expected None or an integer of at least 1"),
        (Broken(num_attended=True), r"Broken.num_attended is True; expected None or an integer of at least 1"),
        (Broken(encode=lambda *_, **__: None), r"encode: returned a NoneType; expected a dict of tensors"),
        (Broken(encode=lambda **_: {"mean": torch.zeros(1)}), r"encode: mean is \(1,\); expected a tensor led by 3"),
        (
            Broken(encode=lambda frames, depth, poses, fov: {"rank": frames.float().mean((1, 2, 3)).argsort() + 1.0}),
            r"encode: rank of a frame is another one when the frame is encoded alone",
        ),
        (
            Broken(estimate_depth=lambda frames, poses, fov: torch.zeros(frames.shape[:3])),
            r"estimate_depth: depth is not above 0 everywhere",
        ),
        (
            set_frames(lambda self, view, context: view.frames / 255),
            r"generate: frames is torch.float32 of shape \(1, 24, 24, 3\); expected torch.uint8 of shape",
        ),
        (
            set_frames(lambda self, view, context: view.frames.movedim(-1, 1)),
            r"generate: frames is torch.uint8 of shape \(1, 3, 24, 24\); expected torch.uint8 of shape \(1, 24",
        ),
        (then(lambda self, view, context: view.depth.mul_(torch.nan)), r"generate: depth holds NaN or infinity"),
        (then(lambda self, view, context: view.depth.neg_()), r"generate: depth holds values below 0"),
        (
            then(lambda self, view, context: view.own_weight.fill_(2)),
            r"generate: own_weight holds values from 2 to 2; expected 0 to 1",
        ),
        (
            then(lambda self, view, context: context.frames.zero_()),
            r"generate: changed context.frames, which is the memory's; work on a copy",
        ),
        (
            then(lambda self, view, context: view.frames.random_()),
            r"generate: drew from torch's global random generator",
        ),
        (
            set_frames(lambda self, view, context: view.frames + 10 * self.calls),
            r"generate: two calls with equal arguments .* gave different views",
        ),
        (
            set_frames(lambda self, view, context: context.frames.float().mean(1).to(torch.uint8)),
            r"generate: what lies in an empty slot of the context changed the view",
        ),
        (
            set_frames(lambda self, view, context: view.frames.flip(0)),
            r"generate: the view of world 0 is another one when only other worlds of the batch",
        ),
        (
            set_frames(lambda self, view, context: view.frames[:1].squeeze(0)),
            r"generate: frames is torch.uint8 of shape \(24, 24, 3\)",
        ),
    ],
    ids=lambda value: None if not isinstance(value, str) else value[:30],
)
def test_what_is_broken_is_told_in_words(generator, message):
    with pytest.raises(AssertionError, match=message):
        check_generator(generator)


def test_a_generator_that_leaves_a_field_of_view_out_is_told():
    class Narrow(Broken):
        def generate(self, poses, context, fov, num_steps, generators):
            view = super().generate(poses, context, fov, num_steps, generators)
            view.depth = view.depth / (fov < 100)[:, None, None]
            return view

    with pytest.raises(AssertionError, match=r"generate \(fov=120\): depth holds NaN or infinity"):
        check_generator(Narrow())


def test_several_frames_a_step_are_led_by_worlds_and_frames():
    class Clip(Broken):
        frames_per_step = 3

        def generate(self, poses, context, fov, num_steps, generators):
            assert poses.shape[1:] == (3, 6)
            view = super().generate(poses[:, -1], context, fov, num_steps, generators)
            return Generated(*(part[:, None].repeat_interleave(3, 1) for part in vars(view).values()))

    check_generator(Clip())
    with pytest.raises(AssertionError, match=r"expected torch.uint8 of shape \(1, 2, 24, 24, 3\)"):
        check_generator(type("Short", (Clip,), {"frames_per_step": 2, "generate": Broken.generate})())


@pytest.mark.parametrize("reward", REWARDS)
@pytest.mark.parametrize("task", TASKS)
def test_tasks_conform(task, reward):
    check_task(make_task(task, reward))


class Count(Task):
    """Counts the steps of each world, and breaks one thing."""

    shared = 0

    def __init__(self, **broken):
        super().__init__()
        self.__dict__.update(broken)

    def spaces(self, height, width):
        return {"goal": gym.spaces.Box(0.0, 9.0, (1,), np.float32)}

    def open(self, num_worlds, height, width, device):
        self.steps = torch.zeros(num_worlds)

    def begin(self, world, beginning, drawn):
        self.steps[world] = 0

    def evaluate(self, poses, frames, depth):
        self.steps = self.steps + 1
        return self.steps.clone(), poses[:, 0] > 0

    def observe(self):
        return {"goal": self.steps[:, None]}

    def inform(self):
        return {"steps": self.steps}


def then_evaluate(change):
    """A `Count` whose evaluation is changed."""

    def evaluate(self, poses, frames, depth):
        return change(self, poses, *Count.evaluate(self, poses, frames, depth))

    return type("Changed", (Count,), {"evaluate": evaluate})()


def count_of_the_process(self, poses, reward, ended):
    Count.shared += 1
    return reward + Count.shared, ended


def test_the_task_that_is_to_be_broken_conforms():
    check_task(Count())


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (Count, r"^Count is a class; pass an instance, Count\(\)\.$"),
        (PoseGenerator(), r"PoseGenerator is no subclass of ctxmem_env\.tasks\.Task"),
        (
            then_evaluate(lambda self, poses, reward, ended: (reward[:, None], ended)),
            r"evaluate of the task Changed gave a reward of torch\.float32, shape \(1, 1\), on cpu; expected a tens",
        ),
        (
            then_evaluate(lambda self, poses, reward, ended: (reward / 0, ended)),
            r"evaluate: the reward holds NaN or infinity",
        ),
        (
            then_evaluate(lambda self, poses, reward, ended: (poses.mul_(2)[:, 0], ended)),
            r"evaluate: changed poses, which are the environment's; work on a copy",
        ),
        (then_evaluate(count_of_the_process), r"evaluate: the same steps from the same moment told something else"),
        (
            then_evaluate(lambda self, poses, reward, ended: (reward - poses.mean(), ended)),
            r"evaluate: world 0 is told something else when only other worlds of the batch see something else",
        ),
        (Count(observe=dict), r"observe: gave \[\]; spaces announces \['goal'\]"),
        (
            Count(observe=lambda: {"goal": torch.full((1, 1), 10.0)}),
            r"observe: goal is torch\.float32 of shape \(1, 1\), from 10 to 10; expected 1 of Box\(0\.0, 9\.0, \(1,",
        ),
        (
            Count(inform=lambda: {"steps": torch.zeros(1, dtype=torch.int64)}),
            r"inform: steps is torch\.int64 of shape \(1,\), from 0 to 0; expected a tensor of bool or float",
        ),
        (
            type("All", (Count,), {"begin": lambda self, world, beginning, drawn: self.steps.fill_(world)})(),
            r"begin: other worlds are told something else when one starts over",
        ),
        (
            type("Dark", (Count,), {"begin": lambda self, world, beginning, drawn: beginning.frames.zero_()})(),
            r"draw and begin: changed frames, which are the environment's",
        ),
    ],
    ids=lambda value: None if not isinstance(value, str) else value[:30],
)
def test_what_a_task_breaks_is_told_in_words(task, message):
    with pytest.raises(AssertionError, match=message):
        check_task(task)
