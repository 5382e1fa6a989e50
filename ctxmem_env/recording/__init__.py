"""What a person sees of an episode: panels, comparisons, windows and videos."""

from ctxmem_env.recording.comparison import Compared, draw_comparison
from ctxmem_env.recording.drawing import Picture
from ctxmem_env.recording.live import LiveVideo
from ctxmem_env.recording.panel import View, draw_panel
from ctxmem_env.recording.video import write_video
from ctxmem_env.recording.window import Window

__all__ = ["Compared", "LiveVideo", "Picture", "View", "Window", "draw_comparison", "draw_panel", "write_video"]
