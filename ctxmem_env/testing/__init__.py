"""For tests of environments and generators: what a `Generator` must keep, and one without weights."""

from ctxmem_env.testing.conformance import check_generator
from ctxmem_env.testing.pose_generator import Painted, PoseGenerator, fingerprint

__all__ = ["Painted", "PoseGenerator", "check_generator", "fingerprint"]
