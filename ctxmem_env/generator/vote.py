"""What was painted, put to the vote of the frames that look there, and tidied: it is not known, but made up.

It was made up at first sight, as a wall across a door, say. Later frames contradict it, or are contradicted by it, and
whatever is left of both would be seen, and copied, for ever.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ctxmem_env.camera import Cameras, constant
from ctxmem_env.device import is_host
from ctxmem_env.generator.lookup import compare
from ctxmem_env.generator.points import Points, depth_of, nearest_of

_SEEN_THROUGH = 0.08  # log of how much nearer than what a frame saw there a point is; less may be an error of depth
_FURTHER = 0.5  # in log depth, the most that is cleared at once
_CONFIRMED = 0.8  # of the frames that show a point or see through it, so many are to show it
_CONTESTED = 0.55  # of a neighbourhood, the share from which on nothing that was painted is left of it
_SPARSE = 2  # rows and columns of which one is asked about
_SHORT_OF = 0.9  # of the way, in log depth, from a point to what was seen through it: that itself is to stay
_WINDOW = 5  # pixels on a side of what is around a speck, in frames of 64
_APART = 0.1  # in log depth, between a speck and what is around it
_FEW = 0.36  # of what is around, a speck is less


def put_to_the_vote(
    front: Tensor, points: Points, depth: Tensor, context: Cameras, mask: Tensor, views: Cameras, given: Tensor
) -> Tensor:
    """Which points are the nearest once what was refuted is gone; arguments as of `nearest_of` and `splat.splat`.

    Of the frames that look there more may see through what was painted than show it, or one that nobody painted sees
    through: then nothing that was painted stands before what that one of them shows that saw furthest.

    Where layers that were made up contradict one another still, a mottle of them would be left. Of a neighbourhood that
    is contested for the most part all that was painted is forgotten, to be made up anew and as one, and specks are
    tidied away, see `_tidied`; but nothing that shows the same as a frame that nobody painted.
    """
    size = depth.shape[2:]
    painted = ~given.repeat_interleave(size.numel(), dim=1)[:, None]
    votes = _count_votes(front.unflatten(2, size), points, depth, context, mask, views)
    refuted = (votes.against > votes.confirmed) | _by_given(votes.through, given)
    behind = (votes.log_depth + _SHORT_OF * votes.further.clamp(max=_FURTHER)).exp() * (refuted & (front >= 0))
    behind = F.pad(behind, (0, 1))  # what falls nowhere hides nothing
    gone = painted & (points.z < behind.gather(2, points.place))
    first = front
    if not is_host(mask) or bool(gone.any()):
        left = points._replace(place=points.place.masked_fill(gone, size.numel()))
        front = nearest_of(left, size)
    mottled, doubtful = _mottled(front, points, depth, context, mask, views, given)
    # What stayed where it was has been asked about pixel by pixel.
    doubtful = torch.where(front == first, ~_by_given(votes.shown, given), doubtful)
    own = doubtful & painted.expand(-1, front.shape[1], -1).gather(2, front.clamp_min(0))
    return _tidied(front.masked_fill(mottled & own, -1), points, own, size)


def _mottled(
    front: Tensor, points: Points, depth: Tensor, context: Cameras, mask: Tensor, views: Cameras, given: Tensor
) -> tuple[Tensor, Tensor]:
    """Where most of a neighbourhood is contested, and what no frame shows that nobody painted, (B, S, HW) each.

    Every second row and column can tell.
    """
    some = front.unflatten(2, depth.shape[2:])[..., ::_SPARSE, ::_SPARSE]
    votes, covered = _count_votes(some, points, depth, context, mask, views, _SPARSE), some >= 0
    confirmed, against = votes.confirmed, votes.against
    contested = confirmed < _CONFIRMED * (confirmed + against)
    doubtful = ~_by_given(votes.shown, given).view_as(covered)
    contested = contested.view_as(covered) & covered & doubtful
    radius = max(1, covered.shape[-1] // 16)
    images = torch.cat([contested.flatten(0, 1)[:, None], covered.flatten(0, 1)[:, None]], dim=1).float()
    part, whole = F.avg_pool2d(images, 2 * radius + 1, 1, radius, count_include_pad=False).split(1, dim=1)
    both = torch.stack([(part > _CONTESTED * whole).view_as(covered), doubtful])
    both = both.repeat_interleave(_SPARSE, 3).repeat_interleave(_SPARSE, 4)
    return both[..., : depth.shape[2], : depth.shape[3]].flatten(3).unbind()


def _tidied(front: Tensor, points: Points, own: Tensor, size: tuple[int, int]) -> Tensor:
    """Points as `nearest_of` names them, in place of each speck the point of median depth around it.

    A speck is a piece of what was made up, `own` (B, S, HW), that is alone with its depth: what is left of a surface
    that others replaced. It is no thing, but would be seen in every view, and copied into it. A post or a shelf is as
    thin, but goes on across the window in some direction.
    """
    step = max(1, size[1] // 64)  # larger frames are asked about as coarsely
    # Negated, so that where the median lies between two the further one is taken.
    near = -depth_of(front, points).masked_fill(front < 0, torch.nan)
    margin = _WINDOW // 2 * step
    padded = F.pad(near.unflatten(2, size), (margin,) * 4, value=torch.inf)  # so far out of the frame
    suspects = (own & (front >= 0) & ~_even(padded, step).flatten(2)).flatten()
    at = _where(suspects)
    corner = (at // near.shape[-1] * padded.shape[2] + at % near.shape[-1] // size[1]) * padded.shape[3] + at % size[1]
    line = torch.arange(_WINDOW, device=at.device) * step
    around = padded.flatten()[corner[:, None] + (line[:, None] * padded.shape[3] + line).flatten()]
    # Anything that is compared with NaN, which stands for nothing, is false.
    known = (around < torch.inf).sum(1)
    agree = (around - near.flatten()[at, None]).abs() < _APART
    lines = _lines(agree.device)
    along, outside = agree[:, lines], (around == torch.inf)[:, lines]
    goes_on = (along | outside).all(2) & (along.sum(2) > 1)
    alone = (agree.sum(1) < _FEW * known) & ~goes_on.any(1)
    few = _where(alone)
    at, speck = at[few], (suspects[at] & alone)[few]
    ranked, order = around[few].sort(dim=1, stable=True)  # NaN comes last, and what is out of the frame before
    middle = ((known[few] - 1) // 2).clamp(min=0)[:, None]
    place = order.gather(1, middle)[:, 0]
    source = at + step * ((place // _WINDOW - _WINDOW // 2) * size[1] + place % _WINDOW - _WINDOW // 2)
    speck = speck & ((ranked.gather(1, middle)[:, 0] - near.flatten()[at]).abs() > _APART)
    flat = front.flatten()
    return flat.index_copy(0, at, flat[torch.where(speck, source, at)]).view_as(front)


@constant
def _lines(device: torch.device) -> Tensor:
    """Places (4, 4) in the window on the four lines through its middle, but for that."""
    return torch.tensor([[10, 11, 13, 14], [2, 7, 17, 22], [0, 6, 18, 24], [4, 8, 16, 20]], device=device)


def _where(these: Tensor) -> Tensor:
    """Their places; elsewhere than on a CPU, where to find out how many there are would be to wait, all places."""
    return these.nonzero()[:, 0] if is_host(these) else torch.arange(len(these), device=these.device)


def _even(padded: Tensor, step: int) -> Tensor:
    """Where all nine pixels, `step` apart, are within _APART: no fewer than _FEW of the whole window then agree."""
    least = most = padded[..., step:-step, step:-step]
    for dim in (-1, -2):
        length = least.shape[dim] - 2 * step
        parts = [(least.narrow(dim, start, length), most.narrow(dim, start, length)) for start in (0, step, 2 * step)]
        least, most = parts[0]
        for low, high in parts[1:]:
            least, most = torch.minimum(least, low), torch.maximum(most, high)
    return most - least < _APART  # false where one of them stands for nothing


class _Votes(NamedTuple):
    """What k remembered frames say of the points that `nearest_of` names, at log depth (B, S, HW).

    through and shown (B, S, k, HW): who sees through them and who shows them; against and confirmed (B, S, HW): how
    many; further (B, S, HW): what the one that sees furthest shows behind them, in log depth.
    """

    log_depth: Tensor
    through: Tensor
    shown: Tensor
    further: Tensor

    @property
    def against(self) -> Tensor:
        return self.through.sum(2)

    @property
    def confirmed(self) -> Tensor:
        return self.shown.sum(2)


def _by_given(said: Tensor, given: Tensor) -> Tensor:
    """Whether a frame that nobody painted says it, (B, S, HW), of what all say (B, S, k, HW)."""
    return (said & given[:, None, :, None]).any(2)


def _count_votes(
    front: Tensor, points: Points, depth: Tensor, context: Cameras, mask: Tensor, views: Cameras, every: int = 1
) -> _Votes:
    """What is said of `front` (B, S, H, W), of `every` so many rows and columns alone."""
    log_depth = depth_of(front.flatten(2), points)
    _, error, _, visible = compare(log_depth.view_as(front), views, depth, context, mask, every)
    through, shown = visible & (error < -_SEEN_THROUGH), visible & (error.abs() <= _SEEN_THROUGH)
    further = torch.where(through, -error, 0.0).amax(2)
    return _Votes(log_depth, through, shown, further)
