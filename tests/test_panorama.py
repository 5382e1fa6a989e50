"""A place that is made up stays where it is while a camera walks through it."""

import copy
import math
import pickle

import pytest
import torch

from ctxmem_env.camera import cameras_at
from ctxmem_env.generator import Context, Examples
from ctxmem_env.generator import panorama as module
from ctxmem_env.generator.extend import extend
from ctxmem_env.generator.panorama import KeptPanoramas, OfPlace, carry_on, wind
from ctxmem_env.generator.pipeline import SceneGenerator
from ctxmem_env.generator.transformer import SceneTransformer

SIZE = 32
FOV = torch.tensor([90.0])
HERE = torch.tensor([[0.0, 0.0, 1.5]])


def seen_from(*poses):
    return cameras_at(torch.tensor([poses]), FOV)


def stripes(distance=4.0, worlds=1):
    """One remembered frame of noise, on a wall straight ahead of a camera at `HERE`."""
    frame = torch.rand(1, 1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    parts = frame, torch.full((1, 1, SIZE, SIZE), distance), torch.ones(1, 1) > 0
    frames, depth, mask = (part.repeat(worlds, *[1] * (part.ndim - 1)) for part in parts)
    poses = torch.tensor([[[0.0, 0.0, 1.5, 0.0, 0.0, 0.0]]]).repeat(worlds, 1, 1)
    return OfPlace(frames, depth, cameras_at(poses, FOV.repeat(worlds)), mask)


def test_from_its_middle_a_place_looks_as_the_examples_carried_on():
    examples, views = stripes(), seen_from(*((0.0, 0.0, 1.5, yaw * math.pi / 2, 0.0, 0.0) for yaw in range(4)))
    own, panoramic = carry_on(examples, views, None), carry_on(examples, views, wind(examples, HERE))
    assert all(torch.equal(one, other) for one, other in zip(own, extend(*examples, views), strict=True))
    assert ((own[0] - panoramic[0]).abs() < 0.01).float().mean() > 0.9
    torch.testing.assert_close(own[1], panoramic[1], atol=0.05, rtol=0)


def test_a_step_ahead_it_has_come_nearer_where_examples_alone_come_along():
    examples, ahead = stripes(), seen_from((0.0, 2.0, 1.5, math.pi / 2, 0.0, 0.0))
    middle = slice(SIZE // 2 - 4, SIZE // 2 + 4)

    def distance(panorama):
        return carry_on(examples, ahead, panorama)[1].exp()[..., middle, middle]

    torch.testing.assert_close(distance(None), torch.full((1, 1, 1, 8, 8), 4.0), atol=0.1, rtol=0)
    torch.testing.assert_close(distance(wind(examples, HERE)), torch.full((1, 1, 1, 8, 8), 2.0), atol=0.1, rtol=0)


def parts(panorama):
    colours, depth, cameras, mask = panorama
    return [colours, depth, *cameras, mask]


def test_nothing_is_wound_of_frames_without_depth_or_of_no_frames():
    views = seen_from((0.5, 0.0, 1.5, 1.0, 0.0, 0.0))
    for examples in (stripes(distance=0.0), stripes()._replace(mask=torch.zeros(1, 1) > 0)):
        own, panoramic = carry_on(examples, views, None), carry_on(examples, views, wind(examples, HERE))
        assert all(torch.equal(one, other) for one, other in zip(own, panoramic, strict=True))


def test_kept_panoramas_are_those_that_would_be_wound_anew(monkeypatch):
    examples, kept = stripes(worlds=3), KeptPanoramas()
    wound = []
    monkeypatch.setattr(module, "wind", lambda of, centre: wound.append(len(centre)) or wind(of, centre))

    def ask(centre, examples=examples):
        panorama = kept.wind(examples, centre)
        assert all(torch.equal(*pair) for pair in zip(parts(panorama), parts(wind(examples, centre)), strict=True))

    centre = torch.tensor([[0.0, 0.0, 1.5], [1.0, 0.0, 1.5], [2.0, 0.0, 1.5]])
    ask(centre)
    ask(centre.clone())
    assert wound == [3]
    ask(centre + torch.tensor([[0.0], [0.0], [0.5]]))
    assert wound == [3, 1]
    ask(centre, examples._replace(frames=examples.frames.clone()))  # the same to the bit, elsewhere in memory
    assert wound == [3, 1, 1]
    for part, other in (("frames", -examples.frames), ("depth", examples.depth + 1)):
        ask(centre, examples._replace(**{part: other}))
    assert wound == [3, 1, 1, 3, 3]
    ask(centre)  # which was not forgotten over the others
    assert wound == [3, 1, 1, 3, 3]


def test_examples_that_are_others_at_every_step_leave_no_trace():
    kept = KeptPanoramas()
    for step in range(20):
        kept.wind(stripes(distance=1.0 + step), HERE)
        assert len(kept._kept) == min(step + 1, kept.most)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda kept: pickle.loads(pickle.dumps(kept))])
def test_no_copy_carries_panoramas(again):
    kept = KeptPanoramas()
    kept.wind(stripes(), HERE)
    assert kept._kept and not again(kept)._kept
    again(kept).wind(stripes(), HERE)


def test_elsewhere_than_on_a_cpu_no_value_is_looked_at(monkeypatch):
    monkeypatch.setattr(module, "is_host", lambda tensor: False)
    examples, kept = stripes(), KeptPanoramas()
    wound = kept.wind(examples, HERE)
    assert (
        all(torch.equal(*pair) for pair in zip(parts(wound), parts(wind(examples, HERE)), strict=True))
        and not kept._kept
    )
    none = examples._replace(mask=torch.zeros(1, 1) > 0)
    spare = none.or_else(examples)
    assert spare.mask.tolist() == [[False, True]]
    monkeypatch.undo()
    assert examples.or_else(none) is examples


@pytest.mark.parametrize(("fov", "size"), [(65.0, (32, 32)), (75.0, (24, 40)), (110.0, (32, 32))])
def test_a_place_looks_as_the_examples_carried_on_through_any_lens_that_is_wide_enough(fov, size):
    lens = torch.tensor([fov])
    # Something smooth: the sides of a panorama have other pixels than a view.
    frame = torch.linspace(-1, 1, size[1])[None, None, None, None].expand(1, 1, 3, *size).contiguous()
    ahead = torch.tensor([[[0.0, 0.0, 1.5, 0.0, 0.0, 0.0]]])
    examples = OfPlace(frame, torch.full((1, 1, *size), 4.0), cameras_at(ahead, lens), torch.ones(1, 1) > 0)
    for yaw in (0.0, 0.8, 2.0):
        views = cameras_at(torch.tensor([[[0.0, 0.0, 1.5, yaw, 0.0, 0.0]]]), lens)
        own, panoramic = carry_on(examples, views, None)[0], carry_on(examples, views, wind(examples, HERE))[0]
        assert (own - panoramic).abs().mean() < 0.1, yaw
        assert fov > 100 or not torch.equal(own, panoramic)


def test_a_long_lens_sees_the_examples_themselves():
    lens = torch.tensor([30.0])
    examples = stripes()._replace(cameras=cameras_at(torch.tensor([[[0.0, 0.0, 1.5, 0.0, 0.0, 0.0]]]), lens))
    views = cameras_at(torch.tensor([[[0.0, 0.5, 1.5, 1.0, 0.0, 0.0]]]), lens)
    own, panoramic = carry_on(examples, views, None), carry_on(examples, views, wind(examples, HERE))
    assert all(torch.equal(one, other) for one, other in zip(own, panoramic, strict=True))


def test_nothing_that_is_made_up_stands_right_before_the_camera():
    examples, close = stripes(distance=2.0), seen_from((0.0, 1.8, 1.5, math.pi / 2, 0.0, 0.0))
    assert carry_on(examples, close, wind(examples, HERE))[1].exp().min() > 0.3


def test_a_generator_paints_a_place_around_its_middle_whatever_it_painted_before():
    torch.manual_seed(0)
    model = SceneTransformer(height=16, width=16, patch_size=4, dim=32, num_heads=2, num_layers=2, pixel_dim=8)
    generator, worlds = SceneGenerator(model.requires_grad_(False).eval()), 3
    seen = torch.randint(256, (worlds, 1, 16, 16, 3), dtype=torch.uint8), torch.full((worlds, 1, 16, 16), 2.0)
    seen = *seen, torch.tensor([[[0.0, 0.0, 1.5, 0.0, 0.0, 0.0]]]).repeat(worlds, 1, 1), torch.ones(worlds, 1) > 0
    behind, fov = torch.tensor([[0.0, 0.0, 1.5, 3.1, 0.0, 0.0]]).repeat(worlds, 1), torch.full((worlds,), 90.0)
    features = generator.encode(*(part[:, 0] for part in seen[:3]), fov)
    features = {name: value[:, None] for name, value in features.items()}

    def painted(centre, by=generator):
        context = Context(*seen, features, examples=Examples(*seen, centre))
        return by.generate(behind, context, fov, 1, [torch.Generator().manual_seed(0) for _ in range(worlds)]).frames

    here = behind[:, :3].clone()
    there = here.clone()
    there[1, 0] += 1.0
    before, after, again = painted(here), painted(there), painted(here)
    assert torch.equal(before, again) and torch.equal(after, painted(there, copy.deepcopy(generator)))
    assert [torch.equal(*pair) for pair in zip(before, after, strict=True)] == [True, False, True]
