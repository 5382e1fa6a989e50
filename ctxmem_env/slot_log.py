"""Past moments of a memory, held without a copy of its pixels: only what is overwritten later is put aside for them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from weakref import WeakSet

import torch
from torch import Tensor


@dataclass(eq=False)
class Moment:
    """What lay in the slots of B worlds: numbers int64 (B, S) of frames, -1 where a slot was not in use.

    aside: by number, what has been overwritten since, one tensor of each storage.
    """

    numbers: Tensor
    aside: dict[int, tuple[Tensor, ...]] = field(default_factory=dict)


class SlotLog:
    """Which frame lies in which of S slots of B worlds, and the moments that are still held.

    A storage is a tensor (B, S, ...) of the frames themselves. Each of them has a number, and no two ever have the same
    one, not even where a moment was put back and another way was taken from there. A moment is held as long as somebody
    refers to it; a copy or a pickle of the log holds none.

    Attributes:
        numbers: int64 (B, S), of the frames that lie there, in use or not; -1 where none was ever written.
    """

    def __init__(self, num_worlds: int, num_slots: int, device: torch.device):
        self.numbers = torch.full((num_worlds, num_slots), -1, device=device)
        self._next = 0
        self._moments: WeakSet[Moment] = WeakSet()

    def __contains__(self, moment: Moment) -> bool:
        return moment in self._moments

    def resize(self, num_slots: int) -> None:
        """Make room for at least as many slots as there are."""
        for holder in (self, *self._moments):
            grown = holder.numbers.new_full((len(holder.numbers), num_slots), -1)
            grown[:, : holder.numbers.shape[1]] = holder.numbers
            holder.numbers = grown

    def overwrite(self, worlds: Tensor, slots: Tensor, storages: Sequence[Tensor]) -> None:
        """New frames are about to be written to `slots` (n,) of `worlds` (n,)."""
        self._put_aside(worlds, slots, storages)
        self.numbers[worlds, slots] = self._draw(len(slots))

    def hold(self, used: Tensor) -> Moment:
        """This moment, of the slots that are in use, bool (B, S)."""
        return self._register(Moment(self.numbers.where(used, -1)))

    def put_back(self, moment: Moment, storages: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Write to the storages what has changed since; the worlds (n,) and slots (n,) where that was so."""
        changed = (moment.numbers >= 0) & (moment.numbers != self.numbers)
        worlds, slots = changed.nonzero(as_tuple=True)
        if len(slots):
            self._put_aside(worlds, slots, storages)
            numbers = moment.numbers[worlds, slots]
            rows = [moment.aside[number] for number in numbers.tolist()]
            for storage, values in zip(storages, zip(*rows, strict=True), strict=True):
                storage[worlds, slots] = torch.stack(values).to(storage.device)
            self.numbers[worlds, slots] = numbers
        return worlds, slots

    def invent(self, slots: Tensor, rows: Sequence[tuple[Tensor, ...]]) -> Moment:
        """A moment of a single world in which n frames from elsewhere lie in `slots` (n,); to be put back."""
        moment, numbers = Moment(torch.full_like(self.numbers, -1)), self._draw(len(slots))
        moment.numbers[0, slots] = numbers
        moment.aside.update(zip(numbers.tolist(), rows, strict=True))
        return self._register(moment)

    def _draw(self, count: int) -> Tensor:
        first, self._next = self._next, self._next + count
        return torch.arange(first, self._next, device=self.numbers.device)

    def _register(self, moment: Moment) -> Moment:
        self._moments.add(moment)
        return moment

    def _put_aside(self, worlds: Tensor, slots: Tensor, storages: Sequence[Tensor]) -> None:
        if not self._moments:  # nothing is asked of another device then
            return
        numbers = self.numbers[worlds, slots]
        rows: dict[int, tuple[Tensor, ...]] = {}
        for moment in self._moments:
            held = (moment.numbers[worlds, slots] == numbers) & (numbers >= 0)
            for at in held.nonzero().flatten().tolist():
                number = int(numbers[at])
                if number not in rows:
                    rows[number] = tuple(storage[worlds[at], slots[at]].clone() for storage in storages)
                moment.aside.setdefault(number, rows[number])

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name != "_moments"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state, _moments=WeakSet())
