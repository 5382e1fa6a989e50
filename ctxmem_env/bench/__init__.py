"""`ctxmem bench`: how fast the parts of the package are, on this machine, and what that depends on.

Every benchmark returns one dict of plain Python; its figures are medians over repeats, and ratios between cases come
from cases that were measured in turn within one run.
"""

from ctxmem_env.bench.step import bench_step

__all__ = ["bench_step"]
