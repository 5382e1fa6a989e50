"""Posed captures: folders of pictures whose cameras are known, read as what a world begins with.

A reader finds its layout in a folder and gives a `Capture`: paths of pictures, which are opened only when they are
remembered, their lenses, and poses in the axes of `ctxmem_env.camera`. `READERS` lists them in the order in which they
are asked:

    nerfstudio   transforms.json of nerfstudio and instant-ngp, with depth where it names files of it
    colmap       a sparse model of COLMAP, binary or text, with the pictures in images/ or beside it
    camera path  a JSON file as `ctxmem_env.trajectory` reads it, that of Context-as-Memory or of our own, with pictures
                 whose names end in the number of their pose

Paths of a capture that lead out of its folder are refused, and so are files that are too large to be sane.
"""

from ctxmem_env.captures.capture import MAX_PICTURES, Capture, CaptureReader, Shot
from ctxmem_env.captures.colmap import ColmapReader
from ctxmem_env.captures.lens import Lens
from ctxmem_env.captures.nerfstudio import NerfstudioReader
from ctxmem_env.captures.numbered import NumberedReader
from ctxmem_env.captures.remember import MOST_REMEMBERED, READERS, Remembered, open_capture, remember

__all__ = [
    "MAX_PICTURES",
    "MOST_REMEMBERED",
    "READERS",
    "Capture",
    "CaptureReader",
    "ColmapReader",
    "Lens",
    "NerfstudioReader",
    "NumberedReader",
    "Remembered",
    "Shot",
    "open_capture",
    "remember",
]
