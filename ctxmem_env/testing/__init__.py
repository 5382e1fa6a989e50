"""For tests of environments: what a `Generator` and a `Task` must keep, and a generator without weights."""

from ctxmem_env.testing.conformance import check_generator
from ctxmem_env.testing.pose_generator import Painted, PoseGenerator, fingerprint
from ctxmem_env.testing.task_conformance import check_task

__all__ = ["Painted", "PoseGenerator", "check_generator", "check_task", "fingerprint"]
