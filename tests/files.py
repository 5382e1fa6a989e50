"""Files of worlds, read and rewritten, for the tests."""

from ctxmem_env.world_file import WorldFile, write_world_file


def read_all(path):
    with WorldFile(path) as file:
        return file.facts, {name: file.read(name) for name in file.entries}


def rewrite(path, change):
    """The same file after `change(facts, arrays)`, with checksums that are right."""
    facts, arrays = read_all(path)
    change(facts, arrays)
    return write_world_file(path, facts, arrays.items())
