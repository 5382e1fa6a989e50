"""Features of remembered frames, computed once for each frame and kept up to a bound.

A `FeatureCache` is looked up on the host, a `FeatureTable` on the device.
"""

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor

Key = tuple[int, int]  # world, entry id
_FIRST_ROWS = 64


class FeatureTable:
    """The features of all frames that a bounded memory holds, each where its frame lies.

    Nothing here depends on a value that a device would have to be asked for. Frames are encoded when they arrive, used
    or not, which is cheap in a large batch.
    """

    def __init__(self, num_worlds: int, num_slots: int):
        self._shape = num_worlds, num_slots
        self._pool: dict[str, Tensor] = {}

    def store(self, worlds: Tensor, slots: Tensor, features: dict[str, Tensor]) -> None:
        """Keep the features (n, ...) of frames that lie in `slots` (n,) of `worlds` (n,)."""
        for name, values in features.items():
            if name not in self._pool:
                self._pool[name] = values.new_zeros(*self._shape, *values.shape[1:])
            self._pool[name][worlds, slots] = values

    def gather(self, slots: Tensor) -> dict[str, Tensor]:
        """Features (B, k, ...) of the frames in slots (B, k)."""
        worlds = torch.arange(len(slots), device=slots.device)[:, None]
        return {name: pool[worlds, slots] for name, pool in self._pool.items()}


class FeatureCache:
    """The features of at most `capacity` frames; the least recently used leave first.

    Rows live in one tensor a feature, so that gathering a batch is one index operation. A pickle or a deep
    copy starts empty: features are derived from frames that memory still holds.
    """

    def __init__(self, capacity: int):
        self.capacity = capacity
        self.knows_shapes = False  # True once features were stored, of whatever frame
        self._rows: OrderedDict[Key, int] = OrderedDict()
        self._free: list[int] = []
        self._pool: dict[str, Tensor] = {}
        self._gathered: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def gather(self, keys: list[Key | None], encode: Callable[[list[int]], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Features (N, ...) for N keys; None stands for an empty slot, whose row is arbitrary.

        `encode` gets the positions in `keys` of the frames that are missing here and returns their features.
        The number of different keys must not exceed `capacity`. The features are overwritten by the next call: for many
        worlds they are large, and memory that is new to the process costs more than what is copied into it.
        """
        missing: dict[Key, int] = {}
        for position, key in enumerate(keys):
            if key in self._rows:
                self._rows.move_to_end(key)
            elif key is not None:
                missing.setdefault(key, position)
        if missing:
            self._store(list(missing), encode(list(missing.values())))
        at = torch.tensor([0 if key is None else self._rows[key] for key in keys])
        for name, pool in self._pool.items():
            out = self._gathered.get(name)
            if out is None or len(out) != len(at):
                self._gathered[name] = out = pool.new_empty(len(at), *pool.shape[1:])
            torch.index_select(pool, 0, at.to(pool.device), out=out)
        return dict(self._gathered)

    def drop(self, world: int) -> None:
        """Forget every frame of one world."""
        for key in [key for key in self._rows if key[0] == world]:
            self._free.append(self._rows.pop(key))

    def _store(self, keys: list[Key], features: dict[str, Tensor]) -> None:
        self.knows_shapes = True
        rows = [self._claim_row(key) for key in keys]
        for name, values in features.items():
            pool = self._pool.get(name)
            if pool is None or len(pool) <= max(rows):
                size = min(max(_FIRST_ROWS, 2 * (max(rows) + 1)), self.capacity)
                grown = values.new_zeros(size, *values.shape[1:])
                if pool is not None:
                    grown[: len(pool)] = pool
                self._pool[name] = pool = grown
            pool[torch.tensor(rows, device=pool.device)] = values

    def _claim_row(self, key: Key) -> int:
        if len(self._rows) >= self.capacity:
            row = self._rows.popitem(last=False)[1]
        else:
            row = self._free.pop() if self._free else len(self._rows)
        self._rows[key] = row
        return row

    def __getstate__(self) -> dict:
        return {"capacity": self.capacity}

    def __setstate__(self, state: dict) -> None:
        self.__init__(**state)
