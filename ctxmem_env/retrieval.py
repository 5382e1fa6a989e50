"""Which remembered frames become context for a new view: poses in, indices out.

`fov`, the default (see `ctxmem_env.greedy`), departs from the rule of Context-as-Memory (arXiv:2506.03141, kept as
`fov_rays`): the border rays of views from one place meet in the camera itself, so the rule finds nothing after a pure
rotation. With a spatial index its cost hardly depends on how much is remembered; that of the others grows with it.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ctxmem_env.device import is_host
from ctxmem_env.errors import check_free_name, check_integer, unknown_name
from ctxmem_env.greedy import choose_among_all
from ctxmem_env.nearby import choose_nearby
from ctxmem_env.overlap import MAX_RANGE, border_rays_meet, in_view_frame, view_overlap
from ctxmem_env.spatial_index import SpatialIndex

_SHORT = 128  # frames of a world, up to which it is faster to look at all frames of several worlds at once
_NEAR_LIMIT = 0.1  # metres; `fov_rays` only
_LEAST_OVERLAP = 0.1  # share of the new view that a candidate of `fov_random` and its sisters covers


@dataclass(frozen=True)
class Query:
    """What a strategy may look at.

    memory_poses (B, T, 6), oldest first, padded behind; lengths int64 (B,), remembered frames of each world;
    pose (B, 6), the new view; num_context k; fov float64 (B,), degrees; generators, one a world, or None; index, of
    the same frames, or None; anchors int64 (B,), the newest frame that the camera of the view made, which is the newest
    of all unless several `cameras` share these frames.
    """

    memory_poses: Tensor
    lengths: Tensor
    pose: Tensor
    num_context: int
    fov: Tensor
    generators: Sequence[torch.Generator] | None
    index: SpatialIndex | None
    anchors: Tensor
    cameras: int = 1

    def uniform_noise(self) -> Tensor:
        """Uniform numbers (B, T) in (0, 1], 0 behind a world's length; world b draws lengths[b] of them."""
        if self.generators is None:
            raise ValueError("generators=None, but this strategy draws at random; pass a torch.Generator a world.")
        noise = self.memory_poses.new_zeros(self.memory_poses.shape[:2])
        for row, length, generator in zip(noise, self.lengths.tolist(), self.generators, strict=True):
            row[:length] = 1 - torch.rand(length, generator=generator, device=generator.device)
        return noise


@dataclass(frozen=True)
class Selection:
    """Selected frames: indices int64 (B, k), -1 for an empty slot; overlap float32 (B, k) in [0, 1].

    `overlap` is the share of the new view that the frame alone covers (`view_overlap`), 0 in empty slots.
    """

    indices: Tensor
    overlap: Tensor


RetrievalStrategy = Callable[[Query], Tensor]
"""Maps a query to indices int64 (B, k) below each world's length, -1 for an empty slot. See `register_retrieval`."""

RETRIEVAL: dict[str, RetrievalStrategy] = {}


def register_retrieval(name: str, forgets: bool = False) -> Callable[[RetrievalStrategy], RetrievalStrategy]:
    """Decorator that makes a strategy known by name; raises ValueError when the name is taken.

    A new definition of the same function, as of a notebook's cell that is run again, takes the place of the earlier one
    with a warning, from the next step on also where it is in use by that name.

    forgets: the strategy is to stand for a memory that holds nothing but what it returns, as "recent" and "none" do,
    so that what is new is not painted after the frames that opened the world either.
    """

    def add(strategy: RetrievalStrategy) -> RetrievalStrategy:
        check_free_name("retrieval", name, strategy, RETRIEVAL)
        RETRIEVAL[name] = _forgetful(strategy) if forgets else strategy
        return RETRIEVAL[name]

    return add


def _forgetful(strategy: RetrievalStrategy) -> RetrievalStrategy:
    """The same choice, which forgets; by another name `strategy` itself does not."""

    @functools.wraps(strategy)
    def choose(query: Query) -> Tensor:
        return strategy(query)

    choose.forgets = True
    return choose


def forgets(retrieval: str | RetrievalStrategy) -> bool:
    """Whether a strategy stands for a memory without all that it does not return; a callable says so by `forgets`."""
    return getattr(get_retrieval(retrieval), "forgets", False)


def get_retrieval(retrieval: str | RetrievalStrategy) -> RetrievalStrategy:
    """The strategy of that name, or ValueError with the nearest name; a callable is its own strategy."""
    if callable(retrieval):
        return retrieval
    if not isinstance(retrieval, str) or retrieval not in RETRIEVAL:
        raise unknown_name("retrieval", retrieval, RETRIEVAL)
    return RETRIEVAL[retrieval]


def select_context(
    strategy: str | RetrievalStrategy,
    memory_poses: Tensor,
    lengths: Tensor,
    pose: Tensor,
    num_context: int,
    fov: float | Tensor,
    generators: Sequence[torch.Generator] | None = None,
    index: SpatialIndex | None = None,
    anchors: Tensor | None = None,
    cameras: int = 1,
) -> Selection:
    """Chooses up to `num_context` of the remembered frames as context for the view from `pose`.

    Args:
        strategy: a name in `RETRIEVAL` or a callable of that kind.
        memory_poses: (B, T, 6), oldest first; what lies behind a world's length is never looked at.
        lengths: int64 (B,), 0 to T, remembered frames of each world.
        pose: (B, 6), the new view.
        num_context: slots k, at least 1.
        fov: horizontal field of view in degrees, a number or (B,).
        generators: one for each world; only `random`, `first_random`, `fov_rays`, `fov_random`,
            `fov_non_adjacent` and `fov_far` draw from them.
        index: of the same frames, as a `FrameMemory` on the CPU keeps it. Of the strategies here `fov` uses it: with
            it the cost of a choice hardly depends on the history, and it is exact but for frames that see all but
            the same as older ones (see `SpatialIndex`); without it, exact up to 4,096 frames.
        anchors: int64 (B,), the newest frame that the camera of each row made; None: the newest of all.
        cameras: that share these frames, and took turns in adding them.

    Returns:
        Selection with k slots. Slot 0 is the anchor, except for `recent`, `first` and `none`.

    Raises:
        ValueError: an unknown strategy, shapes that do not fit, lengths outside [0, T], a pose that is not
            finite, `num_context` below 1, a fov outside (0, 180), a random strategy without generators, an
            index of other frames, anchors that are none of the frames, or a strategy that gives no such indices.
    """
    choose = get_retrieval(strategy)
    query = _check(memory_poses, lengths, pose, num_context, fov, generators, index, anchors, cameras)
    indices = choose(query)
    shape = (len(pose), query.num_context)
    if not isinstance(indices, Tensor) or indices.dtype not in (torch.int64, torch.int32):
        came = f"a tensor of {indices.dtype}" if isinstance(indices, Tensor) else f"a {type(indices).__name__}"
        raise ValueError(
            f"retrieval={strategy!r} gave {came}; expected a tensor of torch.int64 of shape {shape}, each -1 or below "
            "its world's length."
        )
    if indices.shape != shape or (is_host(indices) and bool((indices >= lengths[:, None]).any())):
        came = f"indices of shape {tuple(indices.shape)}: {indices.tolist()}"
        raise ValueError(f"retrieval={strategy!r} gave {came}; expected {shape}, each -1 or below its world's length.")
    if memory_poses.shape[1] == 0:
        return Selection(indices, torch.zeros(shape, device=pose.device))
    overlap = view_overlap(_take(memory_poses, indices.clamp_min(0)), pose, query.fov)
    return Selection(indices, overlap.where(indices >= 0, 0.0))


def _check(memory_poses, lengths, pose, num_context, fov, generators, index, anchors, cameras) -> Query:
    num_context = check_integer("num_context", num_context, 1)
    if memory_poses.ndim != 3 or memory_poses.shape[-1] != 6:
        raise ValueError(f"memory_poses has shape {tuple(memory_poses.shape)}; expected (B, T, 6).")
    worlds, capacity, _ = memory_poses.shape
    if pose.shape != (worlds, 6):
        raise ValueError(f"pose has shape {tuple(pose.shape)}; expected {(worlds, 6)}, a row a world.")
    if is_host(pose) and not bool(pose.isfinite().all()):
        raise ValueError(f"pose={pose.tolist()}; expected finite metres and radians.")
    fit = lengths.shape == (worlds,)
    if not fit or (is_host(lengths) and bool(((lengths < 0) | (lengths > capacity)).any())):
        raise ValueError(f"lengths={lengths.tolist()}; expected {worlds} integers from 0 to T={capacity}.")
    fov = torch.as_tensor(fov, dtype=torch.float64, device=pose.device)
    fit = fov.shape in ((), (worlds,))
    if not fit or (is_host(fov) and not bool(((fov > 0) & (fov < 180)).all())):
        raise ValueError(f"fov={fov.tolist()}; expected degrees between 0 and 180, a number or one a world.")
    if generators is not None and len(generators) != worlds:
        raise ValueError(f"generators has {len(generators)} entries; expected one a world, {worlds}.")
    if index is not None and index.lengths != lengths.tolist():
        raise ValueError(f"index holds {index.lengths} frames of each world; expected lengths={lengths.tolist()}.")
    if anchors is None:
        anchors = lengths - 1
    elif anchors.shape != (worlds,) or (is_host(anchors) and bool(((anchors < 0) | (anchors >= lengths)).any())):
        raise ValueError(f"anchors={anchors.tolist()}; expected {worlds} integers from 0 to below {lengths.tolist()}.")
    return Query(memory_poses, lengths, pose, num_context, fov.expand(worlds), generators, index, anchors, cameras)


@register_retrieval("fov")
def _fov(query: Query) -> Tensor:
    """The anchor, then greedily whichever adds most to the share of the view that is expected to be shown."""
    worlds = len(query.pose)
    if query.index is None or (worlds > 1 and query.memory_poses.shape[1] <= _SHORT):
        view = query.memory_poses, query.lengths, query.pose, query.num_context, query.fov
        return choose_among_all(*view, anchors=query.anchors, cameras=query.cameras)
    views = zip(range(worlds), query.pose.tolist(), query.fov.tolist(), query.anchors.tolist(), strict=True)
    picks = [
        choose_nearby(query.index, world, pose, query.num_context, fov, anchor, query.cameras)
        for world, pose, fov, anchor in views
    ]
    return torch.tensor(picks, device=query.pose.device)


@register_retrieval("fov_rays")
def _fov_rays(query: Query) -> Tensor:
    """The paper's rule: frames whose border rays meet the new view's; of each consecutive run one, at random.

    The near and far limits are not published; ours are 0.1 m and `MAX_RANGE`. When more runs survive than
    there are slots, the ones to use are drawn at random too.
    """
    noise = query.uniform_noise()
    x, y, _, heading, _ = in_view_frame(query.memory_poses, query.pose)
    kept = border_rays_meet(x, y, heading, query.fov, _NEAR_LIMIT, MAX_RANGE)
    kept &= _others(query)
    return _anchor_and_highest(query, _one_of_each_run(kept, noise))


@register_retrieval("fov_random")
def _fov_random(query: Query) -> Tensor:
    """The anchor and others drawn uniformly from those that cover a tenth of the new view or more."""
    return _anchor_and_highest(query, query.uniform_noise().where(_candidates(query), 0.0))


@register_retrieval("fov_non_adjacent")
def _fov_non_adjacent(query: Query) -> Tensor:
    """As `fov_random`, but of each run of consecutive candidates only one, at random."""
    return _anchor_and_highest(query, _one_of_each_run(_candidates(query), query.uniform_noise()))


@register_retrieval("fov_far")
def _fov_far(query: Query) -> Tensor:
    """As `fov_non_adjacent`, but a quarter of the slots hold the candidates that are furthest in space and time.

    How the paper weighs the two is not published; ours are metres over `MAX_RANGE` plus age over the number of frames.
    """
    far_slots = query.num_context // 4
    candidates = _candidates(query)
    near = replace(query, num_context=query.num_context - far_slots)
    indices = _anchor_and_highest(near, _one_of_each_run(candidates, query.uniform_noise()))
    x, y, z, *_ = in_view_frame(query.memory_poses, query.pose)
    age = query.lengths[:, None] - torch.arange(candidates.shape[1], device=candidates.device)
    far = (x * x + y * y + z * z).sqrt() / MAX_RANGE + age / query.lengths[:, None].clamp_min(1)
    taken = F.pad(torch.zeros_like(candidates), (1, 0)).scatter(1, indices + 1, True)[:, 1:]
    far = _anchor_and_highest(replace(query, num_context=far_slots + 1), far.where(candidates & ~taken, 0.0))
    return torch.cat([indices, far[:, 1:]], dim=1)


@register_retrieval("random", forgets=True)
def _random(query: Query) -> Tensor:
    """The anchor and others drawn uniformly, without replacement."""
    return _anchor_and_highest(query, query.uniform_noise())


@register_retrieval("first_random", forgets=True)
def _first_random(query: Query) -> Tensor:
    """The anchor, the first frame, and others drawn uniformly, without replacement."""
    noise = query.uniform_noise()
    first = torch.arange(noise.shape[1], device=noise.device) == 0
    return _anchor_and_highest(query, noise.masked_fill(first, 2.0))


@register_retrieval("recent", forgets=True)
def _recent(query: Query) -> Tensor:
    """The newest k frames, newest first."""
    back = torch.arange(query.num_context, device=query.pose.device)
    return (query.lengths[:, None] - 1 - back).clamp_min(-1)


@register_retrieval("first", forgets=True)
def _first(query: Query) -> Tensor:
    """The first frame alone."""
    return _anchor_only(query).clamp_max(0)


@register_retrieval("none", forgets=True)
def _none(query: Query) -> Tensor:
    """No context."""
    return _anchor_only(query).clamp_max(-1)


def _candidates(query: Query) -> Tensor:
    """Remembered frames besides the anchor that cover `_LEAST_OVERLAP` of the new view or more, bool (B, T)."""
    return _others(query) & (view_overlap(query.memory_poses, query.pose, query.fov) >= _LEAST_OVERLAP)


def _one_of_each_run(kept: Tensor, noise: Tensor) -> Tensor:
    """The noise (B, T) of one frame of each run of consecutive frames in `kept` (B, T), the highest; 0 elsewhere."""
    noise = noise.where(kept, 0.0)
    run = (kept & ~F.pad(kept, (1, 0))[:, :-1]).cumsum(1)
    highest = noise.new_zeros(len(noise), noise.shape[1] + 1).scatter_reduce(1, run, noise, "amax")
    return noise.where(noise == highest.gather(1, run), 0.0)


def _anchor_only(query: Query) -> Tensor:
    """Indices (B, k) with the anchor in slot 0 and the rest empty."""
    return F.pad(query.anchors[:, None], (0, query.num_context - 1), value=-1)


def _others(query: Query) -> Tensor:
    """Remembered frames besides the anchor, bool (B, T)."""
    time = torch.arange(query.memory_poses.shape[1], device=query.pose.device)
    return (time < query.lengths[:, None]) & (time != query.anchors[:, None])


def _anchor_and_highest(query: Query, score: Tensor) -> Tensor:
    """The anchor and the k - 1 others of highest score (B, T); a frame of score 0 is never taken."""
    indices = _anchor_only(query)
    score = score.where(_others(query), 0.0)
    values, best = score.topk(min(query.num_context - 1, score.shape[1]), dim=1)
    indices[:, 1 : 1 + best.shape[1]] = best.where(values > 0, -1)
    return indices


def _take(values: Tensor, indices: Tensor) -> Tensor:
    """values[b, indices[b, n]], (B, n, ...), of values (B, T, ...) and indices (B, n)."""
    return values[torch.arange(len(values), device=values.device)[:, None], indices]
