"""Generators: the models that paint a world. `load_generator` finds one by name or folder."""

from ctxmem_env.generator.protocol import Context, Examples, Generated, Generator, Traits, generate_along, traits_of

__all__ = [
    "Context",
    "Examples",
    "Generated",
    "Generator",
    "Traits",
    "generate_along",
    "load_generator",
    "traits_of",
]


def load_generator(model: str, device: str = "auto", sha256: str | None = None) -> Generator:
    """The generator called `model` (a packaged name, a folder, or "wan:" and one), loaded once a process and device.

    A folder whose weights are others by now, as training writes them, is loaded again. sha256: of the weights that are
    wanted, which may be those of a generator that is still in use; None: those of the present. ValueError where the
    name stands for others.
    """
    from ctxmem_env.generator.store import load_cached

    return load_cached(model, device, sha256)
