"""The frames that show what a place looks like: those that opened it, whatever is looked at."""

import copy

import pytest
import torch

from ctxmem_env.examples import MOST, NEARBY, choose_examples, first_stand
from ctxmem_env.generator import Context, Examples
from ctxmem_env.generator.pipeline import SceneGenerator
from ctxmem_env.generator.transformer import SceneTransformer
from ctxmem_env.memory import FrameMemory
from ctxmem_env.testing import PoseGenerator
from ctxmem_env.world import SceneWorld

LEFT = torch.tensor([[0.0, 0.0, 0.6, 0.0]])


def remembered(frames, worlds=1, **kwargs):
    """A memory whose frame number i is filled with i and was seen from x = i."""
    memory = FrameMemory(worlds, 4, 4, **kwargs)
    for i in range(frames):
        poses = torch.zeros(worlds, 6)
        poses[:, 0] = i
        memory.append(torch.full((worlds, 4, 4, 3), i, dtype=torch.uint8), torch.full((worlds, 4, 4), 2.0), poses)
    return memory


def chosen(memory, given, cameras=1):
    """Numbers of the frames that were chosen, for each row, in order."""
    examples = choose_examples(memory, torch.tensor(given), torch.zeros(cameras * len(given), 6))
    numbers = examples.frames[:, :, 0, 0, 0].long()
    assert torch.equal(examples.poses[..., 0].long(), numbers)
    return [sorted(row[mask].tolist()) for row, mask in zip(numbers, examples.mask, strict=True)]


def test_all_frames_that_opened_the_world_are_examples_and_none_that_was_painted():
    assert chosen(remembered(9), [5]) == [[0, 1, 2, 3, 4]]
    assert chosen(remembered(9, worlds=2), [1, 3]) == [[0], [0, 1, 2]]


@pytest.mark.parametrize("given", [MOST + 1, 5 * MOST, 200])
def test_of_many_they_are_spread_evenly_and_the_last_is_one_of_them(given):
    (numbers,) = chosen(remembered(given + 3), [given])
    gaps = torch.tensor(numbers).diff()
    assert len(numbers) == MOST and numbers[-1] == given - 1
    assert gaps.max() - gaps.min() <= 1


def test_those_that_are_forgotten_are_left_out_and_where_all_are_the_oldest_take_their_place():
    assert chosen(remembered(9, capacity=6, eviction="oldest"), [5]) == [[3, 4]]
    assert chosen(remembered(14, capacity=6, eviction="oldest"), [3]) == [[8, 9, 10, 11, 12, 13]]
    left = remembered(20, worlds=2)
    left.clear([0])  # what lies behind the end of a world is none of its own
    one = torch.zeros(1, 4, 4)
    left.append(one[..., None].expand(-1, -1, -1, 3).to(torch.uint8), one + 1, torch.zeros(1, 6), [0])
    assert chosen(left, [3, 4]) == [[0], [0, 1, 2, 3]]


def test_cameras_that_share_a_world_share_its_examples():
    assert chosen(remembered(6, worlds=2), [2, 3], cameras=2) == [[0, 1], [0, 1], [0, 1, 2], [0, 1, 2]]


def test_a_place_has_its_middle_where_a_camera_first_stood_nearby():
    memory = remembered(9, worlds=2)  # at x = 0, 1, ... 8
    memory.clear([1])

    def middle(*x):
        poses = torch.zeros(len(x), 6)
        poses[:, 0], poses[:, 1] = torch.tensor(x), 0.5
        return first_stand(memory, poses).tolist()

    here = NEARBY + 0.5
    assert middle(here, here) == [[1.0, 0.0, 0.0], [here, 0.5, 0.0]]  # what an emptied world held is forgotten
    assert middle(0.25, 0.0)[0] == [0.0, 0.0, 0.0]
    assert middle(20.0, 0.0)[0] == [20.0, 0.5, 0.0]
    # Two cameras to a world: each has its own.
    assert [row[0] for row in middle(here, 7.5, 0.0, -1.0)] == [1.0, 5.0, 0.0, -1.0]


def test_the_middle_depends_on_what_is_remembered_and_not_on_the_way_there():
    generator = Listening()
    world = SceneWorld(generator, num_context=2)
    world.reset(
        0, torch.zeros(1, 48, 48, 3, dtype=torch.uint8), torch.full((1, 48, 48), 2.0), torch.zeros(1, 6), 90.0, 0
    )
    for _ in range(3):
        world.advance(torch.tensor([[1.0, 0.0, 0.0, 0.0]]))
    assert generator.heard[-1].centre.tolist() == [[1.0, 0.0, 0.0]]
    world.advance(torch.tensor([[-0.5, 0.0, 0.0, 0.0]]))
    assert generator.heard[-1].centre.tolist() == [[0.0, 0.0, 0.0]]
    world.advance(torch.tensor([[0.75, 0.0, 0.0, 0.0]]))
    assert generator.heard[-1].centre.tolist() == [[1.0, 0.0, 0.0]]


class Listening(PoseGenerator):
    """Keeps the examples that it was handed."""

    heard = ()

    def generate(self, poses, context, *args):
        self.heard = (*self.heard, context.examples)
        return super().generate(poses, context, *args)


def test_a_world_hands_on_the_same_examples_at_every_step_whatever_it_retrieves():
    generator = Listening()
    world = SceneWorld(generator, num_context=2)
    poses = torch.zeros(4, 6)
    poses[:, 3] = torch.arange(4) * 1.5
    frames = torch.arange(4, dtype=torch.uint8)[:, None, None, None].expand(4, 48, 48, 3)
    world.reset(0, frames, torch.full((4, 48, 48), 2.0), poses, 90.0, 0)
    retrieved = [tuple(world.advance(LEFT).indices[0].tolist()) for _ in range(8)]
    assert len(set(retrieved)) > 2
    for examples in generator.heard:
        assert sorted(examples.frames[0, examples.mask[0], 0, 0, 0].tolist()) == [0, 1, 2, 3]


def test_examples_are_those_of_what_opened_a_world_last_and_no_copy_carries_them():
    generator = Listening()
    world = SceneWorld(generator, num_context=2)

    def open_with(value):
        frames = torch.full((1, 48, 48, 3), value, dtype=torch.uint8)
        world.reset(0, frames, torch.full((1, 48, 48), 2.0), torch.zeros(1, 6), 90.0, 0)

    def shown():
        world.advance(LEFT)
        return int(generator.heard[-1].frames[0, 0, 0, 0, 0])

    open_with(10)
    assert shown() == 10
    state = world.clone_state()
    open_with(20)
    assert shown() == 20
    world.restore_state(state)
    assert shown() == shown() == 10
    assert generator.heard[-1].frames is generator.heard[-2].frames
    assert not copy.deepcopy(world._examples)._chosen


def the_oldest(query):
    """A strategy of one's own."""
    return torch.zeros(len(query.lengths), query.num_context, dtype=torch.int64)


@pytest.mark.parametrize("retrieval", ["none", "recent", "first", "first_random", "random", the_oldest])
def test_whoever_forgets_does_not_remember_by_way_of_examples(retrieval):
    world = SceneWorld(PoseGenerator(), num_context=2, retrieval="fov")
    world.reset(
        0, torch.zeros(1, 48, 48, 3, dtype=torch.uint8), torch.full((1, 48, 48), 2.0), torch.zeros(1, 6), 90.0, 0
    )
    assert world.advance(LEFT).context.examples.mask.any()
    world.retrieval = retrieval
    assert not world.advance(LEFT).context.examples.mask.any()


def test_what_nobody_has_seen_is_painted_after_the_examples():
    torch.manual_seed(0)
    model = SceneTransformer(height=16, width=16, patch_size=4, dim=32, num_heads=2, num_layers=2, pixel_dim=8)
    generator = SceneGenerator(model.requires_grad_(False).eval())
    behind = torch.tensor([[0.0, 0.0, 1.5, 3.1, 0.0, 0.0]])
    fov = torch.tensor([90.0])

    def painted(level, shown=True):
        seen = torch.zeros(1, 1, 16, 16, 3, dtype=torch.uint8), torch.full((1, 1, 16, 16), 2.0)
        seen = *seen, torch.tensor([[[0.0, 0.0, 1.5, 0.0, 0.0, 0.0]]]), torch.ones(1, 1) > 0
        examples = level and Examples(torch.full_like(seen[0], level), *seen[1:3], seen[3] & shown, behind[:, :3])
        features = generator.encode(*(part[:, 0] for part in seen[:3]), fov)
        context = Context(*seen, {name: value[:, None] for name, value in features.items()}, examples=examples)
        return generator.generate(behind, context, fov, 1, [torch.Generator().manual_seed(0)]).frames

    assert (painted(200).float() - painted(100).float()).mean() > 30
    assert torch.equal(painted(200, shown=False), painted(None))  # after what is remembered, then


def test_rows_of_a_context_have_their_own_examples():
    generator = Listening()
    world = SceneWorld(generator, 2, num_context=2)
    for i in range(2):
        frames = torch.full((1, 48, 48, 3), 10 * i, dtype=torch.uint8)
        world.reset(i, frames, torch.full((1, 48, 48), 2.0), torch.zeros(1, 6), 90.0, 0)
    context = world.advance(LEFT.expand(2, -1)).context
    examples = context.rows(slice(1, 2)).examples
    assert examples.frames[examples.mask].unique().tolist() == [10]
