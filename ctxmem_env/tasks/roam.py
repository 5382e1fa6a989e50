"""Walking freely."""

from ctxmem_env.tasks.task import Task


class Roam(Task):
    """Walk freely.

    Randomisation: none.
    Success: none.
    Dense reward: 0.
    Sparse reward: 0.
    Episode end: only at the time limit.
    """
