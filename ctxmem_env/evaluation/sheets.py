"""Contact sheets: what a generator drew, above what is true."""

from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from ctxmem_env.evaluation.protocols import Walked, Walks


def save_sheet(path: Path, rows: list[Tensor], scale: int = 2) -> None:
    """A PNG of rows of frames, each uint8 (N, H, W, 3), enlarged `scale` times without smoothing."""
    image = np.concatenate([np.concatenate(list(row.numpy()), axis=1) for row in rows], axis=0)
    Image.fromarray(image.repeat(scale, axis=0).repeat(scale, axis=1)).save(path)


def save_walk_sheet(path: Path, walks: Walks, walked: Walked, columns: int = 12) -> None:
    """Two rows for each walk, generated above true, at evenly spaced steps."""
    at = np.linspace(0, walked.frames.shape[1] - 1, columns).round().astype(int)
    true = walks.frames[:, walks.seeded :]
    save_sheet(path, [row for i in range(len(true)) for row in (walked.frames[i, at], true[i, at])])
