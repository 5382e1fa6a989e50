"""True scenes: procedural places with exact RGB and depth for any pose, and ways to walk in them."""

from ctxmem_env.scenes.collision import sweep_scenes
from ctxmem_env.scenes.geometry import SPLITS, Scene, split_of, split_seeds, stack_scenes
from ctxmem_env.scenes.layout import build_scene
from ctxmem_env.scenes.navigation import door_walk, is_free, random_walk, shift, spawn, tour
from ctxmem_env.scenes.renderer import render
from ctxmem_env.scenes.styles import HELD_OUT_STYLES, STYLES, TRAINING_STYLES
from ctxmem_env.scenes.ways import shortest_way

__all__ = [
    "HELD_OUT_STYLES",
    "SPLITS",
    "STYLES",
    "TRAINING_STYLES",
    "Scene",
    "build_scene",
    "door_walk",
    "is_free",
    "random_walk",
    "render",
    "shift",
    "shortest_way",
    "spawn",
    "split_of",
    "split_seeds",
    "stack_scenes",
    "sweep_scenes",
    "tour",
]
