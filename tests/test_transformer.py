"""The network: what its views depend on and what they do not, and the generator around it."""

import math

import pytest
import torch

from ctxmem_env.camera import camera_to_world, cameras_at, invert_rigid
from ctxmem_env.generator import Context, Generator
from ctxmem_env.generator.attention import (
    FrameAttention,
    Remembered,
    RememberedFrames,
    relative_cameras,
    rotary_table,
    rotate,
)
from ctxmem_env.generator.pipeline import SceneGenerator, settle
from ctxmem_env.generator.transformer import SceneTransformer, View

SIZE = 16
TINY = {"height": SIZE, "width": SIZE, "patch_size": 4, "dim": 32, "num_heads": 2, "pixel_dim": 8}
BOTH = pytest.mark.parametrize("lookup", [True, False], ids=["lookup", "attention"])


def tiny(lookup=True, seed=0, **arguments):
    """A small network with every parameter drawn at random, so that nothing is silent as it is before training."""
    model = SceneTransformer(**TINY, num_layers=3, num_context_layers=1, lookup=lookup, **arguments)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.15 * torch.randn(parameter.shape, generator=rng))
    return model.requires_grad_(False)


def draw_poses(*shape, rng):
    """Poses near one another, at camera height, that look into the same direction within some 30 degrees."""
    return torch.randn(*shape, 6, generator=rng) * torch.tensor([0.3, 0.3, 0.1, 0.3, 0.2, 0.1])


def draw_inputs(batch=2, slots=3, targets=2, seed=0):
    """Arguments of `SceneTransformer.forward` by name; every slot is used.

    Each slot sees a surface at a distance of its own, so that rounding cannot decide which one is the nearest.
    """
    rng = torch.Generator().manual_seed(seed)
    surfaces = torch.arange(1.5, 1.5 + slots)[:, None, None]
    return {
        "noisy": torch.randn(batch, targets, 3, SIZE, SIZE, generator=rng),
        "time": torch.rand(batch, targets, generator=rng),
        "poses": draw_poses(batch, targets, rng=rng),
        "fov": torch.linspace(70, 95, batch),
        "frames": torch.rand(batch, slots, 3, SIZE, SIZE, generator=rng) * 2 - 1,
        "depth": surfaces + 0.2 * torch.rand(batch, slots, SIZE, SIZE, generator=rng),
        "context_poses": draw_poses(batch, slots, rng=rng),
        "mask": torch.ones(batch, slots, dtype=torch.bool),
    }


def assert_same_view(view, other, tolerance=1e-4):
    for name, one, two in zip(View._fields, view, other, strict=True):
        torch.testing.assert_close(one, two, atol=tolerance, rtol=tolerance, msg=lambda text, name=name: name + text)


def difference(view, other):
    return max((one - two).abs().max().item() for one, two in zip(view, other, strict=True))


def moved_rigidly(poses, yaw, shift):
    """The same cameras in a world that was turned about the vertical and shifted."""
    x, y = poses[..., 0], poses[..., 1]
    cos, sin = math.cos(yaw), math.sin(yaw)
    turned = torch.stack([cos * x - sin * y, sin * x + cos * y, poses[..., 2]], dim=-1) + torch.tensor(shift)
    return torch.cat([turned, poses[..., 3:4] + yaw, poses[..., 4:]], dim=-1)


@BOTH
def test_views_do_not_depend_on_the_world_frame(lookup):
    model, inputs = tiny(lookup), draw_inputs()
    view = model(**inputs)
    for name in ("poses", "context_poses"):
        inputs[name] = moved_rigidly(inputs[name], yaw=2.1, shift=[7.0, -4.0, 1.5])
    assert_same_view(model(**inputs), view)
    inputs["poses"] = moved_rigidly(inputs["poses"], yaw=0.2, shift=[0.3, 0.0, 0.0])  # the new camera alone
    assert difference(model(**inputs), view) > 0.01


@BOTH
def test_an_empty_slot_has_no_influence_whatever_it_holds(lookup):
    model, inputs = tiny(lookup), draw_inputs()
    inputs["mask"][:, 0] = False
    view = model(**inputs)
    inputs["frames"][:, 0] = 1e3
    inputs["depth"][:, 0] = 0.7
    inputs["context_poses"][:, 0] = torch.tensor([50.0, -80.0, 2.0, 3.0, -0.5, 0.3])
    assert_same_view(model(**inputs), view, tolerance=0.0)
    inputs["mask"][:, 0] = True
    assert difference(model(**inputs), view) > 0.01


@BOTH
def test_the_order_of_slots_does_not_matter(lookup):
    model, inputs = tiny(lookup), draw_inputs()
    view = model(**inputs)
    for name in ("frames", "depth", "context_poses", "mask"):
        inputs[name] = inputs[name][:, [2, 0, 1]]
    assert_same_view(model(**inputs), view)


@BOTH
def test_views_painted_together_equal_each_painted_alone(lookup):
    model, inputs = tiny(lookup), draw_inputs(targets=3)
    together = model(**inputs)
    for i in range(3):
        alone = model(**inputs | {name: inputs[name][:, i : i + 1] for name in ("noisy", "time", "poses")})
        assert_same_view(alone, View(*(value[:, i : i + 1] for value in together)))


@BOTH
def test_worlds_in_a_batch_equal_each_alone(lookup):
    model, inputs = tiny(lookup), draw_inputs(batch=3)
    together = model(**inputs)
    for i in range(3):
        alone = model(**{name: value[i : i + 1] for name, value in inputs.items()})
        assert_same_view(alone, View(*(value[i : i + 1] for value in together)))


def encoded(model, inputs):
    """Keys and values of every slot, each frame encoded in a call of its own."""
    batch, slots = inputs["mask"].shape
    rows = [
        model.encode(
            inputs["frames"][b, k : k + 1],
            inputs["depth"][b, k : k + 1],
            inputs["context_poses"][b, k : k + 1],
            inputs["fov"][b : b + 1],
        )
        for b in range(batch)
        for k in range(slots)
    ]
    return torch.cat(rows).unflatten(0, (batch, slots))


@BOTH
def test_keys_and_values_encoded_one_by_one_serve_like_those_computed_inside(lookup):
    model, inputs = tiny(lookup), draw_inputs()
    keys_values = encoded(model, inputs)
    view = model(**inputs)
    assert_same_view(model(**inputs, keys_values=keys_values), view)
    assert difference(model(**inputs, keys_values=keys_values + 1), view) > 0.01  # they are read at all


def test_attention_reads_as_many_frames_as_it_is_to_and_the_look_up_all():
    model, whole, inputs = tiny(num_attended=2), tiny(), draw_inputs()
    keys_values, view = encoded(model, inputs), model(**inputs)
    assert difference(whole(**inputs), view) > 0.01
    assert_same_view(model(**inputs, keys_values=keys_values), view)
    assert_same_view(model(**inputs, keys_values=keys_values[:, :2]), view)
    read = keys_values.clone()
    read[:, 1] += 1
    assert difference(model(**inputs, keys_values=read), view) > 0.01
    inputs["frames"][:, 2] *= -1  # the third, which is looked up only
    assert difference(model(**inputs, keys_values=keys_values), view) > 0.01


@BOTH
@pytest.mark.parametrize("attended", [3, 9])
def test_attention_to_as_many_frames_as_there_are_is_attention_to_all(lookup, attended):
    inputs = draw_inputs()
    inputs["mask"][0, 1] = False
    assert_same_view(tiny(lookup, num_attended=attended)(**inputs), tiny(lookup)(**inputs), tolerance=0)


@pytest.mark.parametrize("value", [0, 1.5, True])
def test_attention_to_no_frames_is_refused(value):
    with pytest.raises(ValueError, match=r"num_attended=.*expected an integer of at least 1"):
        tiny(num_attended=value)


def test_what_is_encoded_of_a_frame_depends_on_neither_its_place_nor_its_heading():
    model, inputs = tiny(), draw_inputs()
    before = encoded(model, inputs)
    inputs["context_poses"] = moved_rigidly(inputs["context_poses"], yaw=-1.3, shift=[90.0, 4.0, 3.0])
    torch.testing.assert_close(encoded(model, inputs), before, atol=0, rtol=0)


@BOTH
def test_a_look_serves_every_denoising_step(lookup):
    model, inputs = tiny(lookup), draw_inputs()
    memory = {name: inputs[name] for name in ("poses", "fov", "frames", "depth", "context_poses", "mask")}
    seen = model.look(**memory)
    for seed in (1, 2):
        other = inputs | {name: draw_inputs(seed=seed)[name] for name in ("noisy", "time")}
        assert_same_view(model(**other, seen=seen), model(**other), tolerance=0.0)


def test_examples_are_taken_from_the_frames_that_opened_the_world_if_there_are_any():
    model, inputs = tiny(), draw_inputs(slots=3)
    inputs["poses"][..., 3] += math.pi  # where nothing is remembered
    memory = [inputs[name] for name in ("poses", "fov", "frames", "depth", "context_poses", "mask")]
    given = torch.tensor([[False, True, False], [False, False, False]])

    def carried_on(*arguments, **options):
        hints = model.look(*arguments, **options).hints
        return torch.cat([hints.example, hints.example_depth, hints.moved], dim=2)

    examples = carried_on(*memory, given=given)
    alone = [part[:1, 1:2] if part.ndim > 1 and part.shape[1] == 3 else part[:1] for part in memory]
    torch.testing.assert_close(examples[:1], carried_on(*alone))
    every = carried_on(*memory)
    assert not torch.equal(examples[0], every[0]) and torch.equal(examples[1], every[1])


@BOTH
def test_without_any_remembered_frame_the_network_paints_alone(lookup):
    model, inputs = tiny(lookup), draw_inputs()
    inputs["mask"][0] = False
    view = model(**inputs)
    assert all(value.isfinite().all() for value in view)
    assert (view.own_weight[0] == 1).all()
    assert lookup == bool((view.own_weight[1] < 1).any())


def test_attention_alone_reads_no_depth():
    inputs = draw_inputs()
    other = inputs | {"depth": inputs["depth"] * 3}
    assert_same_view(tiny(lookup=False)(**inputs), tiny(lookup=False)(**other), tolerance=0.0)
    assert difference(tiny(lookup=True)(**inputs), tiny(lookup=True)(**other)) > 0.01


@BOTH
def test_every_parameter_has_a_gradient(lookup):
    model = tiny(lookup).requires_grad_(True)
    view = model(**draw_inputs())
    outputs = [view.frames, view.own, view.log_depth] + ([view.own_weight] if lookup else [])
    sum((value * torch.randn_like(value)).sum() for value in outputs).backward()
    unused = [name for name, p in model.named_parameters() if p.grad is None or not (p.grad != 0).any()]
    assert unused == []
    # Each channel that the convolutions give means something too.
    assert (model.pixel_out.weight.grad.abs().amax((1, 2, 3)) > 0).all()


@BOTH
def test_bfloat16_is_close_to_single_precision_far_from_the_origin_too(lookup):
    model, inputs = tiny(lookup), draw_inputs()
    view = model(**inputs)
    for name in ("poses", "context_poses"):
        inputs[name] = moved_rigidly(inputs[name], yaw=0.4, shift=[60.0, -40.0, 0.0])
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(**inputs)
    spread = view.frames.std()
    assert (rounded.frames - view.frames).abs().mean() < 0.03 * spread
    assert (rounded.log_depth - view.log_depth).abs().mean() < 0.03


def test_relative_cameras_measure_in_units_of_four_metres_and_undo_the_focal_length():
    poses = torch.tensor([[[0.0, 0.0, 1.5, 0.0, 0.0, 0.0], [4.0, 0.0, 1.5, 0.0, 0.0, 0.0]]])
    for fov in (60.0, 90.0):
        cameras = relative_cameras(cameras_at(poses, torch.tensor([fov])), 0)
        torch.testing.assert_close(cameras[0, 0], torch.eye(4))
        # 4 m further ahead is one unit along z; the optical axis has no focal length.
        ahead = torch.eye(4)
        ahead[2, 3] = 1
        torch.testing.assert_close(cameras[0, 1], ahead)


def test_rotary_scores_depend_on_the_offset_between_patches_alone():
    table = rotary_table(4, 5, 8, torch.device("cpu"), torch.float32)
    query, key = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    scores = rotate(query.expand(20, 8), table) @ rotate(key.expand(20, 8), table).T
    scores = scores.view(4, 5, 4, 5)
    torch.testing.assert_close(scores[1, 1, 2, 3], scores[2, 2, 3, 4])
    torch.testing.assert_close(scores[0, 3, 2, 1], scores[1, 4, 3, 2])
    assert (scores[1, 1, 2, 3] - scores[1, 1, 3, 2]).abs() > 1e-3


def test_attention_equals_the_formula_token_by_token():
    """softmax(q . (P_q P_k^-1 k)) (P_q P_k^-1 v), with half of a head's channels turned, over own and remembered."""
    dim, heads, tokens = 32, 2, 4
    rng = torch.Generator().manual_seed(0)
    attention, remember = FrameAttention(dim, heads), RememberedFrames(dim, heads)
    rotary = rotary_table(2, 2, 16, torch.device("cpu"), torch.float32)
    x, past = torch.randn(2, tokens, dim, generator=rng), torch.randn(3, tokens, dim, generator=rng)
    poses, fov = draw_poses(1, 5, rng=rng), torch.tensor([80.0])
    cameras = relative_cameras(cameras_at(poses, fov), 3)[0]
    of_context, of_views = cameras[:3], cameras[3:]
    mask, nowhere = torch.tensor([True, False, True]), torch.randn(2, heads, 1, 16, generator=rng)
    with torch.no_grad():
        encoded_past = remember(past, rotary)
        keys, values = RememberedFrames.from_reference(encoded_past[None], of_context[None])
        allowed = mask.repeat_interleave(tokens)[None, None, None]
        found = attention(x, rotary, Remembered(keys, values, allowed, torch.linalg.inv(of_views), nowhere))
        # The first view is the reference, and needs no matrix where it is the only one.
        alone = attention(x[:1], rotary, Remembered(keys, values, allowed, None, nowhere))
        torch.testing.assert_close(alone, found[:1])

        q, k, v = attention.qkv(x).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = attention.query_and_key(torch.stack([q, k]), rotary)
        torch.testing.assert_close(
            q.norm(dim=-1), torch.ones(2, heads, tokens)
        )  # divided by sqrt(c), as in any attention
        torch.testing.assert_close(k.norm(dim=-1), torch.full((2, heads, tokens), 4.0))
        expected = torch.zeros(2, tokens, heads, 16)
        for view in range(2):
            for head in range(heads):
                read_keys, read_values = [k[view, head], nowhere[0, head]], [v[view, head], nowhere[1, head]]
                for frame in mask.nonzero().flatten().tolist():
                    turn = torch.eye(16)
                    relative = torch.linalg.inv(of_views[view]) @ of_context[frame]
                    turn[:8, :8] = torch.block_diag(relative, relative)
                    read_keys.append(encoded_past[frame, 0, head] @ turn.T)
                    read_values.append(encoded_past[frame, 1, head] @ turn.T)
                weight = (q[view, head] @ torch.cat(read_keys).T).softmax(-1)
                expected[view, :, head] = weight @ torch.cat(read_values)
        expected = attention.out(expected.flatten(2))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    # What is kept in half precision is turned in single precision, if that is asked for.
    half = encoded_past[None].bfloat16()
    kept = RememberedFrames.from_reference(half, of_context[None], torch.float32)
    exact = RememberedFrames.from_reference(half.float(), of_context[None])
    assert all(torch.equal(one, two) for one, two in zip(kept, exact, strict=True))
    # The relative camera is P_view P_context^-1 = K [R | t] of one in the frame of the other.
    scaled = camera_to_world(poses[0])
    relative = invert_rigid(scaled[3]) @ scaled[0]
    torch.testing.assert_close((torch.linalg.inv(of_views[0]) @ of_context[0])[2, 3] * 4, relative[2, 3])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"height": 18}, r"height and width must be multiples of patch_size=4, got 18x16"),
        ({"dim": 40}, r"dim=40 must give each of num_heads=2 heads a multiple of 16 channels"),
    ],
)
def test_sizes_that_do_not_divide_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SceneTransformer(**TINY | arguments)


def some_context(batch=2, slots=3, seed=0):
    inputs = draw_inputs(batch, slots, targets=1, seed=seed)
    frames = ((inputs["frames"] + 1) * 127.5).to(torch.uint8).movedim(2, -1)
    context = Context(frames, inputs["depth"], inputs["context_poses"], inputs["mask"])
    return inputs["poses"][:, 0], context, inputs["fov"]


def seeded(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_the_pipeline_is_a_generator():
    generator = SceneGenerator(tiny())
    assert isinstance(generator, Generator)
    poses, context, fov = some_context()
    view = generator.generate(poses, context, fov, 2, seeded(0, 1))
    assert view.frames.shape == (2, SIZE, SIZE, 3) and view.frames.dtype == torch.uint8
    assert view.depth.shape == view.own_weight.shape == (2, SIZE, SIZE)
    assert (view.depth > 0).all() and ((view.own_weight >= 0) & (view.own_weight <= 1)).all()


def test_each_world_has_its_own_randomness():
    generator = SceneGenerator(tiny())
    poses, context, fov = some_context(batch=1)
    twice = Context(*(getattr(context, name).expand(2, *getattr(context, name).shape[1:]) for name in FIELDS))
    same = generator.generate(poses.expand(2, 6), twice, fov.expand(2), 1, seeded(5, 5)).frames
    other = generator.generate(poses.expand(2, 6), twice, fov.expand(2), 1, seeded(6, 5)).frames
    assert torch.equal(same[0], same[1])
    assert torch.equal(other[1], same[1]) and not torch.equal(other[0], same[0])


FIELDS = ("frames", "depth", "poses", "mask")


def test_of_several_steps_what_is_fetched_is_the_mean_and_what_is_painted_the_last():
    own = torch.tensor([0.0, 1.0, 0.25]).view(1, 1, 1, 3)  # shares that the network paints, of three pixels

    def view(value, own_weight):
        image = torch.full((1, 1, 3, 1, 3), value)
        return View(image, -image, torch.full((1, 1, 1, 3), 10 * value), own_weight)

    one, other = view(1.0, 1 - own), view(3.0, own)
    settled = settle([one, other])
    assert settled.frames[0, 0, 0, 0].tolist() == [2.0, 3.0, 2.25]
    assert settled.log_depth[0, 0, 0].tolist() == [20.0, 30.0, 22.5]
    assert settled.own is other.own and settled.own_weight is other.own_weight
    assert settle([one]) is one


def test_kept_features_give_the_view_that_is_painted_without_them():
    generator = SceneGenerator(tiny())
    poses, context, fov = some_context()
    plain = generator.generate(poses, context, fov, 2, seeded(0, 1))
    fov_each = fov[:, None].expand(2, 3).flatten()
    flat = [getattr(context, name).flatten(0, 1) for name in ("frames", "depth", "poses")]
    features = generator.encode(*flat, fov_each)
    context.features = {name: value.unflatten(0, (2, 3)) for name, value in features.items()}
    kept = generator.generate(poses, context, fov, 2, seeded(0, 1))
    # Features are kept in half precision.
    assert (kept.frames.float() - plain.frames.float()).abs().mean() < 1.0
    torch.testing.assert_close(kept.depth, plain.depth, atol=0.05, rtol=0.05)


def test_what_was_generated_can_be_part_of_what_learns():
    """It is computed in inference mode, whose own tensors can not; nor can tables that were first made there."""
    generator = SceneGenerator(tiny())
    poses, context, fov = some_context()
    view = generator.generate(poses, context, fov, 1, seeded(0, 1))
    flat = [getattr(context, name).flatten(0, 1) for name in ("frames", "depth", "poses")]
    features = generator.encode(*flat, fov[:, None].expand(2, 3).flatten())["keys_values"]
    with torch.inference_mode():
        table = rotary_table(3, 7, 16, torch.device("cpu"), torch.float32)
    for made in (view.depth, view.own_weight, features.float()):
        factor = torch.ones((), requires_grad=True)
        (factor * made).sum().backward()
        assert factor.grad.isfinite()
    turned = torch.ones(21, 16, requires_grad=True)
    rotate(turned, table).sum().backward()
    assert turned.grad.isfinite().all()


@pytest.mark.parametrize("num_steps", [0, -1])
def test_fewer_than_one_step_is_refused(num_steps):
    generator = SceneGenerator(tiny())
    poses, context, fov = some_context()
    with pytest.raises(ValueError, match=rf"num_steps must be at least 1, got {num_steps}"):
        generator.generate(poses, context, fov, num_steps, seeded(0, 1))


def test_depth_is_estimated_by_what_the_frames_of_a_place_show():
    generator = SceneGenerator(tiny(lookup=False))  # which leaves parallax alone
    _, context, _ = some_context(batch=1, slots=4)
    frames, poses, fov = context.frames[0], context.poses[0], torch.full((4,), 90.0)
    poses[:, :3], poses[:, 3] = poses[0, :3], torch.tensor([0.0, 0.1, 3.0, -1.5])
    poses[3, 0] += 5.0
    depth = generator.estimate_depth(frames, poses, fov)
    assert depth.shape == (4, SIZE, SIZE) and depth.isfinite().all() and (depth > 0).all()
    changed = frames.clone()
    changed[0] = 255 - changed[0]
    again = generator.estimate_depth(changed, poses, fov)
    assert not torch.allclose(again[0], depth[0], rtol=1e-2)
    assert not torch.allclose(again[1], depth[1], rtol=1e-3)
    torch.testing.assert_close(again[3], depth[3])  # it was seen from elsewhere


def test_a_large_batch_is_painted_in_parts_that_equal_small_ones():
    generator, size = SceneGenerator(tiny()), 19
    poses, context, fov = some_context(batch=size)
    whole = generator.generate(poses, context, fov, 1, seeded(*range(size)))
    for part in (slice(0, 16), slice(16, size)):
        view = generator.generate(poses[part], context.rows(part), fov[part], 1, seeded(*range(size)[part]))
        assert torch.equal(whole.frames[part], view.frames) and torch.equal(whole.depth[part], view.depth)
    assert whole.own_weight.shape == (size, SIZE, SIZE)


@pytest.mark.slow
def test_a_compiled_generator_paints_the_same():
    plain, compiled = SceneGenerator(tiny()), SceneGenerator(tiny()).compile(backend="aot_eager")
    poses, context, fov = some_context()
    flat = [getattr(context, name).flatten(0, 1) for name in ("frames", "depth", "poses")]
    one, other = (generator.encode(*flat, fov.repeat_interleave(3)) for generator in (plain, compiled))
    torch.testing.assert_close(one, other, atol=0.02, rtol=0.02)
    one, other = (generator.generate(poses, context, fov, 2, seeded(0, 1)) for generator in (plain, compiled))
    assert (one.frames.float() - other.frames.float()).abs().mean() < 0.1
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0  # it was compiled at all
