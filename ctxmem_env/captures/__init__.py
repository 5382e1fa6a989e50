"""Posed captures: folders of pictures whose cameras are known, read as what a world begins with.

A reader finds its layout in a folder and gives a `Capture`: paths of pictures, which are opened only when they are
remembered, their lenses, and poses in the axes of `ctxmem_env.camera`. `READERS` lists them in the order in which they
are asked:

    nerfstudio   transforms.json of nerfstudio and instant-ngp, with depth where it names files of it
    colmap       a sparse model of COLMAP, binary or text, with the pictures in images/ or beside it
    minecraft    metadata/ and video/ of GF-Minecraft
    realestate   a text file of cameras of RealEstate10K, with its video or with pictures taken from it
    camera path  a JSON file as `ctxmem_env.trajectory` reads it, that of Context-as-Memory or of our own, with pictures
                 whose names end in the number of their pose, or with a video

Where up is not known, it is the mean of the cameras' up directions, and where the scale is not known, the median
distance of the cameras from their middle becomes 1.5 m (see `capture.upright`). A file of cameras that names a picture
which is not there is refused; a camera path may be longer than its pictures. Frames of a video are turned as the video
says, for the poses are those of what is shown; pictures are not turned by EXIF, as structure from motion does not.

Pictures are read one by one, so that reading takes one decoded picture, 4 bytes a pixel, beside the frames. Where two
pixels are left across each of a frame, a JPEG is decoded at half, a quarter or an eighth of its size, and a PNG of 8
bits that is not interlaced in strips, each of them reduced by a whole factor up to 8: reading 50 of 1920 x 1080 pixels
as frames of 64 x 64 takes less than twice these frames. Other PNGs, WebP and videos are decoded whole, which is 8 MiB
at that size.

Paths of a capture that lead out of its folder are refused, and so are files that are too large to be sane.
"""

from ctxmem_env.captures.capture import MAX_PICTURES, Capture, CaptureReader, Shot
from ctxmem_env.captures.colmap import ColmapReader
from ctxmem_env.captures.frames import view_depth, view_frames
from ctxmem_env.captures.lens import Lens
from ctxmem_env.captures.minecraft import MinecraftReader
from ctxmem_env.captures.nerfstudio import NerfstudioReader
from ctxmem_env.captures.numbered import NumberedReader
from ctxmem_env.captures.realestate import RealEstateReader
from ctxmem_env.captures.remember import (
    MOST_REMEMBERED,
    READERS,
    Found,
    Remembered,
    find_captures,
    open_capture,
    remember,
)

__all__ = [
    "MAX_PICTURES",
    "MOST_REMEMBERED",
    "READERS",
    "Capture",
    "CaptureReader",
    "ColmapReader",
    "Found",
    "Lens",
    "MinecraftReader",
    "NerfstudioReader",
    "NumberedReader",
    "RealEstateReader",
    "Remembered",
    "Shot",
    "find_captures",
    "open_capture",
    "remember",
    "view_depth",
    "view_frames",
]
