"""One generator for worlds that step side by side: what they ask of it in a round becomes one call.

The worlds of a round step in threads. Each stops where it calls the generator; when all of them have stopped or are
done, the calls of the same kind are made in one batch, and every thread goes on with its own rows. Frames are encoded
before views are painted, so that worlds whose newest frame is not encoded yet meet the others there.
"""

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ctxmem_env.generator import Context, Examples, Generated, Generator, traits_of

_here = threading.local()  # .round: the one that this thread steps in


@dataclass(eq=False)
class _Call:
    """One call that waits: those of one `kind` go together, the lowest kind first."""

    kind: tuple[int, Hashable]
    together: Callable[[Sequence[Any]], list[Any]]
    arguments: Any
    result: Any = None
    error: BaseException | None = None
    done: bool = False


@dataclass(eq=False)
class Round:
    """The steps of `size` threads; each enters `member` once.

    batches: sizes of the calls that were made.
    """

    size: int
    batches: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[_Call] = []
        self._running = self.size  # neither waiting nor done

    @contextmanager
    def member(self) -> Iterator[None]:
        """Within it the calls of this thread are shared."""
        _here.round = self
        try:
            yield
        finally:
            _here.round = None
            self._pause(None)

    def make(self, call: _Call) -> Any:
        """The result of a call, which waits for those of the others."""
        self._pause(call)
        with self._changed:
            self._changed.wait_for(lambda: call.done)
        if call.error is not None:
            raise call.error
        return call.result

    def _pause(self, call: _Call | None) -> None:
        """This thread waits for `call`, or is done; if it was the last one to run, it makes the calls that are due."""
        with self._changed:
            self._running -= 1
            self._waiting += [] if call is None else [call]
            due = self._due()
        if due:
            self._run(due)

    def _due(self) -> list[_Call]:
        if self._running or not self._waiting:
            return []
        kind = min(self._waiting, key=lambda call: call.kind[0]).kind
        due = [call for call in self._waiting if call.kind == kind]
        self._waiting = [call for call in self._waiting if call.kind != kind]
        return due

    def _run(self, due: list[_Call]) -> None:
        self.batches.append(len(due))
        try:
            results = due[0].together([call.arguments for call in due])
            for call, result in zip(due, results, strict=True):
                call.result = result
        except BaseException as error:  # whatever it is, nobody may wait for ever
            for call in due:
                call.error = error
        with self._changed:
            self._running += len(due)
            for call in due:
                call.done = True
            self._changed.notify_all()


class SharedGenerator:
    """A `Generator` for the worlds of visitors, over one that they share; `name` is what they know it by."""

    def __init__(self, generator: Generator, name: str):
        self._generator, self.name = generator, name
        self.__dict__.update(vars(traits_of(generator)))
        self.default_num_steps = generator.default_num_steps
        self.weights_sha256 = getattr(generator, "weights_sha256", None)

    def encode(self, frames: Tensor, depth: Tensor, poses: Tensor, fov: Tensor) -> dict[str, Tensor]:
        """See `Generator.encode`."""
        arguments = frames, depth, poses, fov
        present = getattr(_here, "round", None)
        if present is None:
            return self._generator.encode(*arguments)
        return present.make(_Call((0, id(self)), self._encode_together, arguments))

    def generate(
        self,
        poses: Tensor,
        context: Context,
        fov: Tensor,
        num_steps: int,
        generators: list[torch.Generator],
    ) -> Generated:
        """See `Generator.generate`."""
        present = getattr(_here, "round", None)
        if present is None:
            return self._generator.generate(poses, context, fov, num_steps, generators)
        shapes = tuple((name, value.shape[1:]) for name, value in sorted(context.features.items()))
        kind = 1, (id(self), num_steps, context.mask.shape[1], shapes)
        return present.make(_Call(kind, self._generate_together, (poses, context, fov, num_steps, generators)))

    def estimate_depth(self, frames: Tensor, poses: Tensor, fov: Tensor) -> Tensor:
        """See `Generator.estimate_depth`."""
        return self._generator.estimate_depth(frames, poses, fov)

    def _encode_together(self, calls: Sequence[tuple[Tensor, ...]]) -> list[dict[str, Tensor]]:
        features = self._generator.encode(*(torch.cat(part) for part in zip(*calls, strict=True)))
        rows = _rows([call[0] for call in calls])
        return [{name: value[own] for name, value in features.items()} for own in rows]

    def _generate_together(self, calls: Sequence[tuple]) -> list[Generated]:
        poses, contexts, fov, num_steps, generators = zip(*calls, strict=True)
        names = contexts[0].features
        context = Context(
            *(torch.cat([getattr(one, part) for one in contexts]) for part in ("frames", "depth", "poses", "mask")),
            {name: torch.cat([one.features[name] for one in contexts]) for name in names},
            tuple(prompt for one in contexts for prompt in one.prompts),
            torch.cat([one.given for one in contexts]),
            Examples(*map(torch.cat, zip(*(one.examples for one in contexts), strict=True))),
        )
        view = self._generator.generate(
            torch.cat(poses), context, torch.cat(fov), num_steps[0], [rng for own in generators for rng in own]
        )
        return [Generated(view.frames[own], view.depth[own], view.own_weight[own]) for own in _rows(poses)]


def _rows(tensors: Sequence[Tensor]) -> Iterator[slice]:
    """Where each of the tensors is in all of them, one after the other."""
    first = 0
    for tensor in tensors:
        yield slice(first, first + len(tensor))
        first += len(tensor)
