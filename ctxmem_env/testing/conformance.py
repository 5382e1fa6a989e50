"""Whether a generator keeps what a world relies on, tried on a few small inputs."""

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ctxmem_env.generator import Context, Examples, Generated, Generator, traits_of

_LEVELS = 2.0  # of 255, that a frame may differ by where other arithmetic may have been used
_SHARE = 0.02  # the same of depth and features, as a share of their size
_FOVS = (30.0, 90.0, 120.0)  # degrees


class Inputs(NamedTuple):
    """What `Generator.generate` is given, for B worlds: see there."""

    poses: Tensor
    context: Context
    fov: Tensor
    num_steps: int
    generators: list[torch.Generator]


def check_generator(generator: Generator, num_worlds: Iterable[int] = (1, 2), num_context: int = 3) -> None:
    """Try whether `generator` keeps the protocol `ctxmem_env.generator.Generator`, as Gymnasium's `check_env` does.

    Shapes, types, ranges; that nothing it is given is changed; that its frames depend on the random generators that it
    is given and on no others, and those of a world on no other world; that empty slots of the context play no part;
    that features are those of a frame, whatever is encoded beside it; wide and narrow fields of view. It takes a few
    calls, on the generator's `device`, or the CPU where it names none.

    Args:
        generator: what is tried.
        num_worlds: sizes of batches, at least 1 each; what was made for a number of worlds is asked for that one.
        num_context: slots of the context, at least 2.

    Raises:
        AssertionError: in words, the first thing that is not kept.
    """
    _check_attributes(generator)
    with torch.no_grad():
        _check_features(generator, num_context)
        _check_estimate(generator)
        for worlds in num_worlds:
            inputs = _make_inputs(generator, worlds, num_context)
            view = _generate(generator, inputs)
            _check_randomness(generator, inputs, view)
            _check_empty_slots(generator, inputs)
            if worlds > 1:
                _check_independence(generator, inputs, view)
            for fov in _FOVS:
                _generate(generator, inputs._replace(fov=torch.full_like(inputs.fov, fov)), f"fov={fov:g}")


def _check_attributes(generator: Generator) -> None:
    if isinstance(generator, type):
        raise AssertionError(f"{generator.__name__} is a class; pass an instance, {generator.__name__}().")
    kind = type(generator).__name__
    for name in ("height", "width", "default_num_steps", "encode", "generate", "estimate_depth"):
        assert hasattr(generator, name), f"{kind} has no {name}; see ctxmem_env.generator.Generator."
    traits = traits_of(generator)
    for name, value in (
        *((name, getattr(traits, name)) for name in ("height", "width", "frames_per_step")),
        ("default_num_steps", generator.default_num_steps),
    ):
        fits = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        assert fits, f"{kind}.{name} is {value!r}; expected an integer of at least 1."
    for name in ("predicts_depth", "takes_text"):
        value = getattr(traits, name)
        assert isinstance(value, bool), f"{kind}.{name} is {value!r}; expected True or False."
    value = traits.num_attended
    fits = value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1)
    assert fits, f"{kind}.num_attended is {value!r}; expected None or an integer of at least 1."


def _check_features(generator: Generator, count: int) -> None:
    """Of frames that are encoded at once and one by one."""
    frames, depth, poses, fov = _draw_frames(generator, count)
    features = _unchanged("encode", generator.encode, frames=frames, depth=depth, poses=poses, fov=fov)
    assert isinstance(features, dict), f"encode: returned a {type(features).__name__}; expected a dict of tensors."
    for name, value in features.items():
        came = f"{tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        fits = isinstance(value, Tensor) and value.ndim > 0 and len(value) == count
        assert fits, f"encode: {name} is {came}; expected a tensor led by {count}, the number of frames."
        _check_finite("encode", name, value)
    for i in range(count):
        own = slice(i, i + 1)
        alone = generator.encode(frames[own], depth[own], poses[own], fov[own])
        assert alone.keys() == features.keys(), (
            f"encode: gave {sorted(features)} for {count} frames and {sorted(alone)} for one."
        )
        for name, value in alone.items():
            fits = value.shape[1:] == features[name].shape[1:] and _close(value[0], features[name][i])
            assert fits, (
                f"encode: {name} of a frame is another one when the frame is encoded alone; features are kept for each "
                "frame, so they must not depend on the frames beside it."
            )


def _check_estimate(generator: Generator) -> None:
    for count in (1, 2):
        frames, _, poses, fov = _draw_frames(generator, count)
        depth = _unchanged("estimate_depth", generator.estimate_depth, frames=frames, poses=poses, fov=fov)
        _check_tensor("estimate_depth", "depth", depth, frames.shape[:3])
        assert bool((depth > 0).all()), "estimate_depth: depth is not above 0 everywhere; expected metres."


def _check_randomness(generator: Generator, inputs: Inputs, view: Generated) -> None:
    state = torch.get_rng_state()
    torch.rand(1)
    again = _generate(generator, inputs)
    advanced = torch.get_rng_state()
    torch.set_rng_state(state)
    torch.rand(1)
    assert torch.equal(advanced, torch.get_rng_state()), (
        "generate: drew from torch's global random generator; draw from `generators`, one for each world."
    )
    torch.set_rng_state(state)
    assert _same(view, again, range(len(inputs.fov))), (
        "generate: two calls with equal arguments and random generators in the same state gave different views; draw "
        "all randomness from `generators`, and keep no state from one call to the next."
    )


def _check_empty_slots(generator: Generator, inputs: Inputs) -> None:
    context = inputs.context
    mask = torch.zeros_like(context.mask)
    _generate(generator, inputs._replace(context=replace(context, mask=mask)), "a context without frames")
    mask[:, 0] = True
    few = replace(context, mask=mask)
    other = {name: value.clone() for name, value in context.features.items()}
    for value in other.values():
        value[:, 1:] = 0
    garbage = replace(few, frames=context.frames.clone(), depth=context.depth.clone(), features=other)
    garbage.frames[:, 1:], garbage.depth[:, 1:] = 0, 0
    views = [_generate(generator, inputs._replace(context=one)) for one in (few, garbage)]
    assert _same(*views, range(len(mask))), (
        "generate: what lies in an empty slot of the context changed the view; where `context.mask` is False the rest "
        "means nothing."
    )


def _check_independence(generator: Generator, inputs: Inputs, view: Generated) -> None:
    worlds = len(inputs.fov)
    for world in (0, worlds - 1):
        others = torch.arange(worlds, device=inputs.fov.device) != world
        drawn = _make_inputs(generator, worlds, inputs.context.mask.shape[1], seed=1)

        def mix(own: Tensor, other: Tensor, others: Tensor = others) -> Tensor:
            return torch.where(others.view(-1, *[1] * (own.ndim - 1)), other, own)

        a, b = inputs.context, drawn.context
        parts = [mix(getattr(a, name), getattr(b, name)) for name in ("frames", "depth", "poses", "mask")]
        features = {name: mix(value, b.features[name]) for name, value in a.features.items()}
        generators = [
            pair[int(other)] for *pair, other in zip(inputs.generators, drawn.generators, others, strict=True)
        ]
        mixed = Inputs(
            mix(inputs.poses, drawn.poses),
            Context(*parts, features, a.prompts, mix(a.given, b.given), Examples(*map(mix, a.examples, b.examples))),
            mix(inputs.fov, drawn.fov),
            inputs.num_steps,
            generators,
        )
        assert _same(view, _generate(generator, mixed), [world]), (
            f"generate: the view of world {world} is another one when only other worlds of the batch are asked for "
            "something else; worlds know nothing of each other."
        )


def _generate(generator: Generator, inputs: Inputs, case: str = "") -> Generated:
    """The views, whose form is checked. The random generators are copied, so that inputs serve again."""
    inputs = inputs._replace(generators=deepcopy(inputs.generators))
    where = f"generate ({case})" if case else "generate"
    view = _unchanged(where, generator.generate, **inputs._asdict())
    traits, (*lead, _) = traits_of(generator), inputs.poses.shape
    shape = (*lead, traits.height, traits.width)
    assert isinstance(view, Generated), f"{where}: returned a {type(view).__name__}; expected Generated."
    _check_tensor(where, "frames", view.frames, (*shape, 3), torch.uint8)
    _check_tensor(where, "depth", view.depth, shape)
    _check_tensor(where, "own_weight", view.own_weight, shape)
    assert bool((view.depth >= 0).all()), f"{where}: depth holds values below 0; expected metres."
    low, high = float(view.own_weight.min()), float(view.own_weight.max())
    assert low >= 0 and high <= 1, f"{where}: own_weight holds values from {low:g} to {high:g}; expected 0 to 1."
    return view


def _unchanged(where: str, function: Callable[..., Any], **arguments: Any) -> Any:
    """What the function returns, if it leaves its arguments as they were, random generators aside."""
    before = deepcopy(arguments)
    result = function(**arguments)
    for name, value in arguments.items():
        if isinstance(value, Context):
            for part in fields(Context):
                own, was = getattr(value, part.name), getattr(before[name], part.name)
                same = own == was if part.name == "prompts" else _equal(own, was)
                assert same, f"{where}: changed context.{part.name}, which is the memory's; work on a copy."
        elif isinstance(value, Tensor):
            assert _equal(value, before[name]), f"{where}: changed {name}, which is its caller's; work on a copy."
    return result


def _equal(own: Tensor | Examples | dict[str, Tensor], was: Tensor | Examples | dict[str, Tensor]) -> bool:
    if isinstance(own, Examples):
        return all(map(torch.equal, own, was))
    if isinstance(own, dict):
        return own.keys() == was.keys() and all(torch.equal(own[name], was[name]) for name in own)
    return torch.equal(own, was)


def _check_tensor(where: str, name: str, value: Any, shape: Sequence[int], dtype: torch.dtype | None = None) -> None:
    kind = "floats" if dtype is None else dtype
    expected = f"expected {kind} of shape {tuple(shape)}"
    assert isinstance(value, Tensor), f"{where}: {name} is a {type(value).__name__}; {expected}."
    fits = value.is_floating_point() if dtype is None else value.dtype == dtype
    came = f"{value.dtype} of shape {tuple(value.shape)}"
    assert fits and value.shape == torch.Size(shape), f"{where}: {name} is {came}; {expected}."
    _check_finite(where, name, value)


def _check_finite(where: str, name: str, value: Tensor) -> None:
    assert bool(value.isfinite().all()), f"{where}: {name} holds NaN or infinity."


def _same(view: Generated, other: Generated, worlds: Iterable[int]) -> bool:
    return all(
        (view.frames[i].float() - other.frames[i].float()).abs().max() <= _LEVELS
        and _close(view.depth[i], other.depth[i])
        for i in worlds
    )


def _close(value: Tensor, other: Tensor) -> bool:
    return bool((value.float() - other.float()).norm() <= _SHARE * value.float().norm())


def _make_inputs(generator: Generator, worlds: int, slots: int, seed: int = 0) -> Inputs:
    frames, depth, poses, fov = _draw_frames(generator, worlds * slots, seed)
    features = generator.encode(frames, depth, poses, fov)
    rows = [part.unflatten(0, (worlds, slots)) for part in (frames, depth, poses)]
    mask = torch.ones(worlds, slots, dtype=torch.bool, device=fov.device)
    traits = traits_of(generator)
    features = {name: value.unflatten(0, (worlds, slots))[:, : traits.num_attended] for name, value in features.items()}
    prompts = ("a room", *["a garden"] * (worlds - 1)) if traits.takes_text else ()
    way = _draw_frames(generator, worlds * traits.frames_per_step, seed + 2)[2]
    if traits.frames_per_step > 1:
        way = way.unflatten(0, (worlds, traits.frames_per_step))
    generators = [torch.Generator().manual_seed(seed + i) for i in range(worlds)]
    given = torch.arange(slots, device=fov.device).expand(worlds, -1) % 2 == 0
    shown = _draw_frames(generator, 2 * worlds, seed + 3)[:3]
    examples = Examples(*(part.unflatten(0, (worlds, 2)) for part in shown), mask[:, :2], rows[2][:, 0, :3])
    context = Context(*rows, mask, features, prompts, given, examples)
    return Inputs(way, context, fov[::slots].contiguous(), generator.default_num_steps, generators)


def _draw_frames(generator: Generator, count: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Frames of noise at places within a step of each other, at eye height, with their depth, poses and fov."""
    rng, device = torch.Generator().manual_seed(seed), torch.device(getattr(generator, "device", "cpu"))
    size = count, generator.height, generator.width
    frames = torch.randint(256, (*size, 3), generator=rng, dtype=torch.uint8)
    depth = 1 + 4 * torch.rand(size, generator=rng)
    poses = 0.25 * torch.randn(count, 6, generator=rng)
    poses[:, 2], poses[:, 5] = 1.5, 0.0
    return frames.to(device), depth.to(device), poses.to(device), torch.full((count,), 90.0, device=device)
