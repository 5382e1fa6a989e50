"""The frames that show what a place looks like: those that opened it, whatever is looked at."""

import copy
import functools

import pytest
import torch

from ctxmem_env import retrieval
from ctxmem_env.examples import MOST, MOST_STANDS, NEARBY, add_stands, choose_examples, first_stand, no_stands
from ctxmem_env.generator import Context, Examples
from ctxmem_env.generator.pipeline import SceneGenerator
from ctxmem_env.generator.transformer import SceneTransformer
from ctxmem_env.memory import FrameMemory
from ctxmem_env.retrieval import RETRIEVAL, register_retrieval
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
    examples = choose_examples(memory, torch.tensor(given), torch.zeros(cameras * len(given), 3))
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


def stood(*places, worlds=1, world=0):
    """Where cameras stood that were at these places, one after the other."""
    stands = no_stands(worlds, torch.device("cpu"))
    for x in places:
        add_stands(stands, torch.tensor([world]), torch.tensor([[x, 0.0, 1.5]]))
    return stands


def middles(stands, *places):
    """x of the middle of what is made up in views from x = `places`."""
    poses = torch.zeros(len(places), 6)
    poses[:, 0], poses[:, 2] = torch.tensor(places), 1.5
    return first_stand(stands, poses)[:, 0].tolist()


def test_a_place_has_its_middle_where_a_camera_first_stood_nearby():
    stands = stood(0.0, 1.0, 2.75, 3.25, 4.0, 1.0)
    assert [middles(stands, x) for x in (0.0, 2.75, 3.25, 6.0, 9.0, -4.0)] == [
        [0.0],
        [0.0],
        [3.25],
        [3.25],
        [9.0],
        [-4.0],
    ]
    both = stood(1.0, worlds=2, world=1)  # two cameras a world
    assert middles(both, 2.0, -1.0, 2.0, -4.0) == [2.0, -1.0, 1.0, -4.0]


def test_on_a_straight_way_the_middle_stays_for_three_metres():
    steps = [0.25 * step for step in range(40)]
    stands = stood(*steps)
    assert [middles(stands, x)[0] for x in steps] == [NEARBY * (x // NEARBY) for x in steps]


def test_a_world_that_is_full_of_stands_keeps_those_that_it_has():
    steps = [4.0 * step for step in range(MOST_STANDS + 2)]
    stands = stood(*steps)
    assert middles(stands, 0.5) == [0.0] and middles(stands, steps[MOST_STANDS - 1] + 1) == [steps[MOST_STANDS - 1]]
    assert middles(stands, steps[-1] + 1) == [steps[-1] + 1]


def test_the_middle_of_a_place_is_part_of_a_worlds_state():
    generator = Listening()
    world = SceneWorld(generator, num_context=2, memory_capacity=2)
    opening = torch.zeros(1, 48, 48, 3, dtype=torch.uint8), torch.full((1, 48, 48), 2.0), torch.zeros(1, 6)
    world.reset(0, *opening, 90.0, 0)

    def middle(ahead):
        world.advance(torch.tensor([[ahead, 0.0, 0.0, 0.0]]))
        return generator.heard[-1].centre[0, 0].item()

    assert [middle(1.0) for _ in range(4)] == [0.0, 0.0, 3.0, 3.0]
    assert middle(-2.0) == 0.0  # though the frame that was seen from there is forgotten
    state = world.clone_state()
    assert [middle(step) for step in (3.5, 3.5)] == [3.0, 9.0]
    world.restore_state(state)
    assert [middle(step) for step in (2.0, 5.0)] == [3.0, 9.0]
    world.restore_state(state)
    assert middle(7.5) == 9.5  # what came after that moment is not known
    world.reset(0, *opening, 90.0, 0)
    assert middle(5.0) == 5.0


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


@pytest.mark.parametrize("wrapped", [False, True], ids=["as it is", "within another function"])
@pytest.mark.parametrize("name", RETRIEVAL)
def test_whether_examples_are_given_is_up_to_the_strategy_by_whatever_name(name, wrapped, monkeypatch):
    strategy = RETRIEVAL[name]
    if wrapped:
        strategy = functools.wraps(strategy)(functools.partial(strategy))
    monkeypatch.setattr(retrieval, "RETRIEVAL", dict(RETRIEVAL))
    register_retrieval("another name")(strategy)
    masks = []
    for given in (name, strategy, "another name"):
        world = SceneWorld(PoseGenerator(), 1, retrieval=given, num_context=2)
        world.reset(0, torch.zeros(4, 48, 48, 3, dtype=torch.uint8), torch.ones(4, 48, 48), torch.zeros(4, 6), 90.0, 0)
        masks.append(world.advance(torch.zeros(1, 4)).context.examples.mask)
    assert torch.equal(masks[1], masks[0]) and torch.equal(masks[2], masks[0])
    assert bool(masks[0].any()) == name.startswith("fov")


def test_a_strategy_of_ones_own_has_examples_unless_it_forgets(monkeypatch):
    monkeypatch.setattr(retrieval, "RETRIEVAL", dict(RETRIEVAL))

    @register_retrieval("newest")
    def newest(query):
        return query.lengths[:, None] - 1

    @register_retrieval("newest alone", forgets=True)
    def alone(query):
        return query.lengths[:, None] - 1

    assert [retrieval.forgets(one) for one in ("newest", newest, "newest alone", alone)] == [False, False, True, True]


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
    """A strategy of one's own, which shall forget all other frames."""
    return torch.zeros(len(query.lengths), query.num_context, dtype=torch.int64)


the_oldest.forgets = True


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
