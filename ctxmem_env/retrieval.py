"""Which remembered frames become context for a new view: poses in, indices out.

Strategies see poses alone, so occlusion is unknown to them. `fov`, the default, departs from the rule of
Context-as-Memory (arXiv:2506.03141, kept as `fov_rays`), which fails for views that share a camera centre.
"""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ctxmem_env.camera import wrap_angle

MAX_RANGE = 8.0  # metres; about the length of a room, beyond which a wall is more likely than a view
_MIN_DEPTH = 0.5  # metres; nearer surfaces are rare, the camera is kept off the walls
_FINE_GRID = (16, 5)  # columns, depths: sample points in the new view
_COARSE_GRID = (4, 2)
_MAX_CANDIDATES = 512  # frames that are scored on the fine grid
_PARALLAX_SCALE = 4.0  # metres between two cameras, at which both see a shared point with probability 1/e
_AGE_BONUS = 0.05  # relative; a newer frame is a copy of older ones, and a copy of a copy degrades
_MIN_GAP = 2  # frames this near in time to a pick are its neighbours
_NEIGHBOUR_FACTOR = 0.1  # a neighbour is taken only where nothing else adds much


@dataclass(frozen=True)
class Query:
    """What a strategy may look at.

    memory_poses (B, T, 6), oldest first, padded behind; lengths int64 (B,), remembered frames of each world;
    pose (B, 6), the new view; num_context k; fov (B,), degrees; generators, one for each world, or None.
    """

    memory_poses: Tensor
    lengths: Tensor
    pose: Tensor
    num_context: int
    fov: Tensor
    generators: Sequence[torch.Generator] | None

    def uniform_noise(self) -> Tensor:
        """Uniform numbers (B, T) in [0, 1); world b draws lengths[b] of them from its own generator."""
        if self.generators is None:
            raise ValueError(
                "generators=None, but this strategy draws at random; pass a torch.Generator per world"
            )
        noise = self.memory_poses.new_zeros(self.memory_poses.shape[:2])
        for row, length, generator in zip(noise, self.lengths.tolist(), self.generators, strict=True):
            row[:length] = torch.rand(length, generator=generator, device=generator.device)
        return noise


@dataclass(frozen=True)
class Selection:
    """Selected frames: indices int64 (B, k), -1 for an empty slot; overlap float32 (B, k) in [0, 1].

    `overlap` is the share of the new view that the frame alone covers, 0 in empty slots.
    """

    indices: Tensor
    overlap: Tensor


RetrievalStrategy = Callable[[Query], Tensor]
"""Maps a query to indices int64 (B, k) into the remembered frames, -1 for an empty slot."""

RETRIEVAL: dict[str, RetrievalStrategy] = {}


def register_retrieval(name: str) -> Callable[[RetrievalStrategy], RetrievalStrategy]:
    """Decorator that makes a strategy known by name; raises ValueError when the name is taken."""

    def add(strategy: RetrievalStrategy) -> RetrievalStrategy:
        if name in RETRIEVAL:
            raise ValueError(f"retrieval strategy {name!r} is already registered; choose another name")
        RETRIEVAL[name] = strategy
        return strategy

    return add


def get_retrieval(name: str | RetrievalStrategy) -> RetrievalStrategy:
    """The strategy of that name; a callable is its own strategy."""
    if callable(name):
        return name
    if name not in RETRIEVAL:
        nearest = difflib.get_close_matches(str(name), RETRIEVAL, n=1)
        hint = f"did you mean {nearest[0]!r}? " if nearest else ""
        raise ValueError(f"unknown retrieval {name!r}; {hint}choose one of {', '.join(map(repr, RETRIEVAL))}")
    return RETRIEVAL[name]


def select_context(
    strategy: str | RetrievalStrategy,
    memory_poses: Tensor,
    lengths: Tensor,
    pose: Tensor,
    num_context: int,
    fov: float | Tensor,
    generators: Sequence[torch.Generator] | None = None,
) -> Selection:
    """Chooses up to `num_context` of the remembered frames as context for the view from `pose`.

    Args:
        strategy: a name in `RETRIEVAL` or a callable of that kind.
        memory_poses: (B, T, 6), oldest first; entries at and behind a world's length are never looked at.
        lengths: int64 (B,), 0 to T, remembered frames of each world.
        pose: (B, 6), the new view.
        num_context: slots k, at least 1.
        fov: horizontal field of view in degrees, a number or (B,).
        generators: one for each world; only `random` and `fov_rays` draw from them.

    Returns:
        Selection with k slots; all strategies but `first` and `none` put the newest frame into slot 0.

    Raises:
        ValueError: an unknown strategy, shapes that do not fit, lengths outside [0, T], a pose that is not
            finite, `num_context` below 1, a fov outside (0, 180), or a random strategy without generators.
    """
    chosen = get_retrieval(strategy)
    query = _check(memory_poses, lengths, pose, num_context, fov, generators)
    indices = chosen(query)
    if indices.shape != (len(pose), num_context) or bool((indices >= query.lengths[:, None]).any()):
        raise ValueError(
            f"retrieval strategy {strategy!r} returned indices of shape {tuple(indices.shape)}; expected "
            f"{(len(pose), num_context)} with every index below the world's length, -1 for an empty slot"
        )
    if memory_poses.shape[1] == 0:
        return Selection(indices, indices.new_zeros(indices.shape, dtype=torch.float32))
    overlap = view_overlap(_take(memory_poses, indices.clamp_min(0)), pose, query.fov)
    return Selection(indices, overlap.where(indices >= 0, 0.0))


def view_overlap(candidates: Tensor, pose: Tensor, fov: float | Tensor) -> Tensor:
    """Share (B, N) in [0, 1] of the view from `pose` (B, 6) that each of the poses (B, N, 6) covers.

    The view is its sector in the ground plane up to `MAX_RANGE`: all image columns count the same, and depth
    is log-uniform. The share is multiplied by the overlap of the pitch ranges, for frames as high as wide.
    """
    fov = torch.as_tensor(fov, dtype=torch.float64, device=pose.device).expand(len(pose))
    covered = _inside(*_in_view_frame(candidates, pose), fov, _FINE_GRID).to(torch.float64).mean(-1)
    return (covered * _pitch_overlap(candidates, pose, fov)).float()


def _check(memory_poses, lengths, pose, num_context, fov, generators) -> Query:
    if memory_poses.ndim != 3 or memory_poses.shape[-1] != 6:
        raise ValueError(f"memory_poses has shape {tuple(memory_poses.shape)}; expected (B, T, 6)")
    worlds, capacity, _ = memory_poses.shape
    if pose.shape != (worlds, 6):
        raise ValueError(f"pose has shape {tuple(pose.shape)}; expected ({worlds}, 6), a row per world")
    if not bool(pose.isfinite().all()):
        raise ValueError(f"pose holds NaN or infinity: {pose.tolist()}; expected finite metres and radians")
    if lengths.shape != (worlds,) or bool(((lengths < 0) | (lengths > capacity)).any()):
        raise ValueError(f"lengths is {lengths.tolist()}; expected {worlds} numbers from 0 to T={capacity}")
    if num_context < 1:
        raise ValueError(
            f"num_context={num_context}; expected at least 1 (retrieval='none' gives no context)"
        )
    fov = torch.as_tensor(fov, dtype=torch.float64, device=pose.device)
    if fov.shape not in ((), (worlds,)) or not bool(((fov > 0) & (fov < 180)).all()):
        raise ValueError(f"fov={fov.tolist()}; expected degrees between 0 and 180, one or a number per world")
    if generators is not None and len(generators) != worlds:
        raise ValueError(
            f"generators has {len(generators)} entries; expected a torch.Generator per world ({worlds})"
        )
    return Query(memory_poses, lengths, pose, num_context, fov.expand(worlds), generators)


def _take(values: Tensor, indices: Tensor) -> Tensor:
    """values[b, indices[b, n]] for values (B, T, ...) and indices (B, n)."""
    return values[torch.arange(len(values), device=values.device)[:, None], indices]


def _in_view_frame(candidates: Tensor, pose: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Positions x (forward), y (left) and headings, float64 (B, N), in the ground frame of `pose` (B, 6).

    float64, so that a near tie falls the same way whatever the batch is.
    """
    x, y = (candidates[..., :2].double() - pose[:, None, :2].double()).unbind(-1)
    yaw = pose[:, 3:4].double()
    heading = candidates[..., 3].double() - yaw
    return x * yaw.cos() + y * yaw.sin(), y * yaw.cos() - x * yaw.sin(), heading


def _view_points(fov: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Points of the view, x and y (B, 1, P) in its ground frame: pixel columns times log-spaced depths."""
    columns, depths = (torch.arange(n, dtype=torch.float64, device=fov.device).add(0.5).div(n) for n in grid)
    depth = _MIN_DEPTH * (MAX_RANGE / _MIN_DEPTH) ** depths
    side = (2 * columns - 1) * torch.tan(torch.deg2rad(fov) / 2)[:, None]
    x = depth.expand(len(fov), grid[0], grid[1])
    return x.reshape(len(fov), 1, -1), (side[:, :, None] * x).reshape(len(fov), 1, -1)


def _inside(x: Tensor, y: Tensor, heading: Tensor, fov: Tensor, grid: tuple[int, int]) -> Tensor:
    """Whether each candidate's sector holds each point of the view, bool (B, N, P)."""
    point_x, point_y = _view_points(fov, grid)
    dx, dy = point_x - x[..., None], point_y - y[..., None]
    cos, sin = heading.cos()[..., None], heading.sin()[..., None]
    forward, left = dx * cos + dy * sin, dy * cos - dx * sin
    slope = torch.tan(torch.deg2rad(fov) / 2)[:, None, None]
    return (left.abs() <= slope * forward) & (forward <= MAX_RANGE)


def _pitch_overlap(candidates: Tensor, pose: Tensor, fov: Tensor) -> Tensor:
    apart = (candidates[..., 4].double() - pose[:, None, 4].double()).abs()
    return (1 - apart / torch.deg2rad(fov)[:, None]).clamp_min(0)


def _seen_probability(query: Query, indices: Tensor, grid: tuple[int, int]) -> Tensor:
    """Probability (B, N, P) that frames `indices` (B, N) show each point of the new view; 0 if invalid.

    A point in a frame's sector may still be hidden there, the more so the further the two cameras are apart.
    """
    candidates = _take(query.memory_poses, indices)
    x, y, heading = _in_view_frame(candidates, query.pose)
    height = candidates[..., 2].double() - query.pose[:, None, 2].double()
    near = torch.exp(-(x * x + y * y + height * height).sqrt() / _PARALLAX_SCALE)
    older = 1 - _AGE_BONUS * indices / query.lengths[:, None].clamp_min(1)
    quality = 0.95 * near * older * _pitch_overlap(candidates, query.pose, query.fov)
    # The newest frame is the anchor, in slot 0 already.
    quality = quality.where(indices < query.lengths[:, None] - 1, 0.0)
    return _inside(x, y, heading, query.fov, grid) * quality[..., None]


def _candidates(query: Query) -> Tensor:
    """Indices (B, M) of the frames worth a fine score: the best of each of up to 512 equal spans of time."""
    worlds, device = len(query.pose), query.pose.device
    longest = int(query.lengths.max())
    everything = torch.arange(longest, device=device).expand(worlds, -1)
    if longest <= _MAX_CANDIDATES:
        return everything
    score = _seen_probability(query, everything, _COARSE_GRID).mean(-1)
    # Spans follow the world's own length, so that a world in a batch chooses as it does alone.
    span = -(-query.lengths // _MAX_CANDIDATES)
    within = torch.arange(int(span.max()), device=device)
    frames = torch.arange(_MAX_CANDIDATES, device=device)[:, None] * span[:, None, None] + within
    usable = (within < span[:, None, None]) & (frames < longest)
    frames = frames.clamp_max(longest - 1)
    scores = _take(score, frames.flatten(1)).view_as(frames).where(usable, -1.0)
    return frames.gather(-1, scores.argmax(-1, keepdim=True)).squeeze(-1)


@register_retrieval("fov")
def _fov(query: Query) -> Tensor:
    """Greedy expected coverage: each pick adds most of the part of the view that no pick has shown yet."""
    indices = _anchor_only(query)
    if query.num_context == 1 or int(query.lengths.max()) < 2:
        return indices
    candidates = _candidates(query)
    seen = _seen_probability(query, candidates, _FINE_GRID)
    # The anchor counts as showing nothing: it is a copy, and the frames it was made from must be found too.
    unseen = seen.new_ones(len(seen), seen.shape[-1])
    allowed = seen.new_ones(candidates.shape)
    picked = indices[:, :1]
    for slot in range(1, query.num_context):
        allowed = allowed.where((candidates - picked).abs() > _MIN_GAP, _NEIGHBOUR_FACTOR)
        allowed = allowed.where(candidates != picked, 0.0)
        gain, best = ((seen @ unseen[..., None]).squeeze(-1) * allowed).max(-1, keepdim=True)
        picked = candidates.gather(1, best).where(gain > 0, -1 - _MIN_GAP)
        indices[:, slot : slot + 1] = picked.clamp_min(-1)
        unseen = unseen * (1 - _take(seen, best).squeeze(1))
    return indices


def _anchor_only(query: Query) -> Tensor:
    """Indices (B, k) with the newest frame in slot 0 and the rest empty."""
    shape = len(query.pose), query.num_context
    indices = torch.full(shape, -1, dtype=torch.int64, device=query.pose.device)
    indices[:, 0] = query.lengths - 1
    return indices


def _largest(query: Query, score: Tensor) -> Tensor:
    """The anchor and the k - 1 other frames of largest score (B, T); a score of 0 or less is never taken."""
    indices = _anchor_only(query)
    time = torch.arange(score.shape[1], device=score.device)
    score = score.where(time < query.lengths[:, None] - 1, 0.0)
    values, best = score.topk(min(query.num_context - 1, score.shape[1]), dim=1)
    indices[:, 1 : 1 + best.shape[1]] = best.where(values > 0, -1)
    return indices


@register_retrieval("fov_rays")
def _fov_rays(query: Query) -> Tensor:
    """The paper's rule: both pairs of border rays intersect; one frame, at random, of each consecutive run.

    The near and far limits are not published; ours are 0.1 m and `MAX_RANGE`. When more runs survive than
    there are slots, which of them are used is drawn at random as well.
    """
    noise = 1 - query.uniform_noise()  # (0, 1]
    if query.memory_poses.shape[1] == 0:
        return _anchor_only(query)
    kept = torch.ones_like(noise, dtype=torch.bool)
    x, y, heading = _in_view_frame(query.memory_poses, query.pose)
    half = torch.deg2rad(query.fov)[:, None] / 2
    for side in (half, -half):
        kept &= _rays_meet(x, y, side, wrap_angle(heading + side))
    kept &= torch.arange(kept.shape[1], device=kept.device) < query.lengths[:, None] - 1
    # One of each run: the largest noise within it.
    starts = kept & ~torch.nn.functional.pad(kept, (1, 0))[:, :-1]
    run = starts.cumsum(1)
    best = noise.new_zeros(noise.shape[0], noise.shape[1] + 1)
    best.scatter_reduce_(1, run, noise.where(kept, 0.0), "amax")
    return _largest(query, noise.where(kept & (noise == best.gather(1, run)), 0.0))


def _rays_meet(x: Tensor, y: Tensor, own: Tensor, other: Tensor) -> Tensor:
    """Whether the ray from the origin at angle `own` meets, within limits, that from (x, y) at `other`."""
    # Solve s (cos own, sin own) = (x, y) + t (cos other, sin other) by Cramer's rule.
    cross = torch.sin(other - own)
    parallel = cross.abs() < 1e-9
    cross = cross.where(~parallel, 1.0)
    s = (x * other.sin() - y * other.cos()) / cross
    t = (x * own.sin() - y * own.cos()) / cross
    return ~parallel & (t > 0) & (s >= 0.1) & (s <= MAX_RANGE)


@register_retrieval("random")
def _random(query: Query) -> Tensor:
    """The newest frame and others drawn uniformly without replacement."""
    return _largest(query, 1 - query.uniform_noise())


@register_retrieval("recent")
def _recent(query: Query) -> Tensor:
    """The newest k frames, newest first."""
    back = torch.arange(query.num_context, device=query.pose.device)
    return (query.lengths[:, None] - 1 - back).clamp_min(-1)


@register_retrieval("first")
def _first(query: Query) -> Tensor:
    """The first frame alone."""
    indices = _anchor_only(query)
    indices[:, 0] = indices[:, 0].clamp_max(0)
    return indices


@register_retrieval("none")
def _none(query: Query) -> Tensor:
    """No context."""
    return torch.full_like(_anchor_only(query), -1)
