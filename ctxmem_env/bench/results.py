"""A file that holds the newest results of each benchmark, under its name."""

import json
from pathlib import Path

from ctxmem_env.atomic import write_whole


def read_benches(path: str | Path) -> dict[str, dict]:
    """What `keep` wrote; {} where there is no file. ValueError for a file that holds something else."""
    path = Path(path)
    if not path.exists():
        return {}
    try:
        benches = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"out={str(path)!r} cannot be read ({error}); name another file, or remove it.") from error
    results = benches.values() if isinstance(benches, dict) else [None]
    if not all(isinstance(result, dict) and "machine" in result for result in results):
        raise ValueError(f"out={str(path)!r} holds no results of `ctxmem bench`; name another file, or remove it.")
    return benches


def keep(path: str | Path, results: dict) -> None:
    """Write `results` beside those of other benchmarks in the file, in place of earlier ones of the same benchmark."""
    path = Path(path)
    benches = read_benches(path) | {results["bench"]: results}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(dict(sorted(benches.items())), indent=1) + "\n")
