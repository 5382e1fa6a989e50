"""Halls of many heights, which teach depth: cameras stand where they can, and no two halls are alike."""

import dataclasses

import numpy as np
import pytest
import torch

from ctxmem_env.scenes import HELD_OUT_STYLES, render, stack_scenes
from ctxmem_env.scenes.builder import Builder
from ctxmem_env.scenes.geometry import EMPTY
from ctxmem_env.scenes.styles import STYLES
from ctxmem_env.scenes.textures import TEXTURES
from ctxmem_env.training.frame_depth import disguise
from ctxmem_env.training.sectors import sectors


@pytest.fixture(scope="module")
def drawn():
    return [sectors(8, np.random.default_rng(seed)) for seed in range(40)]


def test_a_hall_is_a_function_of_its_seed(drawn):
    scene, poses = sectors(8, np.random.default_rng(3))
    assert torch.equal(poses, drawn[3][1]) and not torch.equal(poses, drawn[4][1])
    for field in dataclasses.fields(scene):
        assert torch.equal(getattr(scene, field.name), getattr(drawn[3][0], field.name))


def test_cameras_stand_within_walls_with_nothing_before_their_lens(drawn):
    """Seldom there is no room; then a camera stands where it can."""
    nearest, furthest = [], []
    for scene, poses in drawn:
        depth = render(stack_scenes([scene]), poses[None], 60.0, 16, 16)[1]
        nearest.append(depth.min().item())
        furthest.append(depth[..., 8:, :].max().item())  # of the lower half, where no sky is
    assert np.mean(np.array(nearest) > 0.2) >= 0.9
    assert np.mean(np.array(furthest) < 60) >= 0.9
    assert np.median(nearest) < 2


def test_few_halls_are_so_full_that_something_is_left_out(monkeypatch):
    """What comes last is left out: furniture, never a wall."""
    asked, box = [], Builder.box
    monkeypatch.setattr(Builder, "box", lambda self, *args, **kwargs: asked.append(1) or box(self, *args, **kwargs))
    whole = 0
    for seed in range(60):
        asked.clear()
        scene, _ = sectors(8, np.random.default_rng(seed))
        whole += int((scene.kind != EMPTY).sum()) == len(asked)
    assert whole > 57


def test_a_disguise_puts_cameras_into_a_wall_or_a_crate_only_where_there_was_no_room():
    inside = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        scene, poses = disguise(*sectors(8, rng), rng)
        eye = poses[:, None, :3] - scene.centre
        across = eye[..., 0] * scene.yaw.cos() + eye[..., 1] * scene.yaw.sin()
        along = eye[..., 1] * scene.yaw.cos() - eye[..., 0] * scene.yaw.sin()
        within = torch.stack([across, along, eye[..., 2]], dim=-1).abs() < scene.half
        inside += bool((within.all(-1) & (scene.kind != EMPTY)).any())
    assert inside <= 1


def test_most_cameras_turn_on_the_spot_and_others_look_from_all_over(drawn):
    apart = np.array([(poses[:, :2] - poses[0, :2]).norm(dim=1).max().item() for _, poses in drawn])
    assert 0.5 < np.mean(apart == 0) < 1
    for _, poses in drawn:
        assert (poses[:, 2] == 1.5).all() and (poses[:, 3].abs() <= np.pi).all() and (poses[:, 4:] == 0).all()


def test_halls_have_many_heights_walls_aslant_and_some_no_ceiling(drawn):
    boxes = [scene.room_box[scene.room_box[:, 3] > scene.room_box[:, 0]] for scene, _ in drawn]
    assert np.mean([len(box[:, 2].unique()) > 1 for box in boxes]) > 0.3
    assert np.mean([len(box[:, 5].unique()) > 1 for box in boxes]) > 0.3
    assert np.mean([bool((scene.yaw % 1.0 != 0).any()) for scene, _ in drawn]) > 0.3
    skies = [(render(stack_scenes([s]), p[None], 60.0, 16, 16)[1] > 60).any().item() for s, p in drawn]
    assert 0.1 < np.mean(skies) < 0.9


def test_nothing_of_a_style_that_is_held_out_is_used(drawn):
    first = TEXTURES["mosaic"][0]
    for scene, _ in drawn:
        assert bool((scene.material_texture < first).all())
        assert list(STYLES)[int(scene.style)] not in HELD_OUT_STYLES
