"""Properties of the true scenes: geometry, colour, walks, seeds."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from ctxmem_env.camera import camera_to_world, cropped_fov, focal, motion_between, pixel_rays
from ctxmem_env.scenes import (
    HELD_OUT_STYLES,
    SPLITS,
    STYLES,
    TRAINING_STYLES,
    build_scene,
    is_free,
    random_walk,
    render,
    spawn,
    split_of,
    split_seeds,
    stack_scenes,
    tour,
)
from ctxmem_env.scenes.geometry import BOX, CYLINDER, ELLIPSOID
from ctxmem_env.scenes.navigation import Ground
from ctxmem_env.scenes.renderer import SKY_RADIUS
from ctxmem_env.scenes.textures import texture_maps

INDOOR = [name for name, style in STYLES.items() if style.layout in ("rooms", "corridor")]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def walk(scene, length=60, seed=0):
    return random_walk(scene, length, np.random.default_rng(seed))


def psnr(a, b):
    return -10 * math.log10((a.float() - b.float()).square().mean().item() / 255**2 + 1e-12)


def only(kind, centre, half, yaw=0.0):
    """A scene of one primitive under the sky."""
    scene = build_scene(0)
    kinds, centres, halves, yaws = (torch.zeros_like(t) for t in (scene.kind, scene.centre, scene.half, scene.yaw))
    kinds[0], centres[0], halves[0], yaws[0] = kind, torch.tensor(centre), torch.tensor(half), yaw
    return stack_scenes([dataclasses.replace(scene, kind=kinds, centre=centres, half=halves, yaw=yaws)])


def brute_force_depth(scene, pose, fov, height, width):
    """z-depth by testing every ray against every primitive, in float64 and without any of the renderer's algebra."""
    matrix = camera_to_world(pose.double())
    rays = (pixel_rays(height, width, fov).double() @ matrix[:3, :3].T).reshape(-1, 3)
    origin = matrix[:3, 3]
    best = torch.full((len(rays),), math.inf, dtype=torch.float64)
    for i in range(int((scene.kind > 0).sum())):
        cos, sin = math.cos(scene.yaw[i]), math.sin(scene.yaw[i])
        turn = torch.tensor([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], dtype=torch.float64)
        half = scene.half[i].double()
        o, d = turn @ (origin - scene.centre[i].double()), rays @ turn.T
        if scene.kind[i] == BOX:
            t0, t1 = (-half - o) / d, (half - o) / d
            enter, leave = torch.minimum(t0, t1).amax(1), torch.maximum(t0, t1).amin(1)
        else:
            axes = 2 if scene.kind[i] == CYLINDER else 3
            q, r = (o / half)[:axes], (d / half)[:, :axes]
            a, b, c = (r * r).sum(1), r @ q, q @ q - 1
            root = (b * b - a * c).sqrt()  # NaN where the ray misses; every comparison with it is False
            enter, leave = (-b - root) / a, (-b + root) / a
            if axes == 2:
                t0, t1 = (-half[2] - o[2]) / d[:, 2], (half[2] - o[2]) / d[:, 2]
                enter, leave = torch.maximum(enter, torch.minimum(t0, t1)), torch.minimum(leave, torch.maximum(t0, t1))
        best = torch.where((enter <= leave) & (enter > 0) & (enter < best), enter, best)
    return best.view(height, width)


def test_depth_of_a_wall_is_its_distance_along_the_optical_axis():
    scene = only(BOX, (5.0, 0.0, 1.5), (1.0, 50.0, 50.0))
    poses = torch.tensor([[[0.0, 0.3, 1.5, 0.0, 0.0, 0.0]]])
    _, depth = render(scene, poses, 90.0, 24, 40)
    assert torch.allclose(depth, torch.full_like(depth, 4.0), atol=1e-5)


def test_a_box_covers_the_pixels_that_its_size_and_distance_say():
    scene = only(BOX, (2.5, 0.0, 1.5), (0.5, 0.5, 0.5))
    _, depth = render(scene, torch.tensor([[[0.0, 0.0, 1.5, 0.0, 0.0, 0.0]]]), 90.0, 64, 64)
    hit = depth[0, 0] < 10
    assert hit[24:40, 24:40].all() and hit.sum() == 16 * 16  # 0.5 m at 2 m is a quarter of the half width


@pytest.mark.parametrize("kind", [BOX, CYLINDER, ELLIPSOID])
@pytest.mark.parametrize("yaw", [0.0, 0.7])
def test_depth_of_one_primitive_equals_brute_force(kind, yaw):
    scene = only(kind, (2.0, 0.4, 1.2), (0.5, 0.5 if kind == CYLINDER else 0.8, 0.6), yaw)
    single = dataclasses.replace(scene, **{f.name: getattr(scene, f.name)[0] for f in dataclasses.fields(scene)})
    for pose in ([0, 0, 1.5, 0, 0, 0], [2.2, 0.3, 3.5, 1.0, -1.4, 0.3], [3.5, 2.0, 0.2, -2.3, 0.2, -0.5]):
        pose = torch.tensor(pose, dtype=torch.float32)
        _, depth = render(scene, pose[None, None], 80.0, 40, 48)
        expected = brute_force_depth(single, pose, 80.0, 40, 48)
        hit = expected.isfinite()
        assert hit.any()
        assert ((depth[0, 0] < 50) == hit).float().mean() > 0.998  # a ray along an edge may go either way
        both = hit & (depth[0, 0] < 50)
        assert (depth[0, 0][both] - expected[both]).abs().max() < 2e-3


@pytest.mark.parametrize("style", STYLES)
def test_depth_of_whole_scenes_equals_brute_force(style):
    scene = build_scene(7, style)
    poses = walk(scene, 90)[[5, 40, 88]] + torch.tensor([0, 0, 0, 0, 0.1, 0.05])
    _, depth = render(stack_scenes([scene]), poses[None], 75.0, 36, 50)
    for pose, found in zip(poses, depth[0], strict=True):
        expected = brute_force_depth(scene, pose, 75.0, 36, 50)
        close = (found - expected).abs() < 1e-3 * expected
        assert (close | ~expected.isfinite()).float().mean() > 0.997
        assert (found[~expected.isfinite()] > 60).all()


def test_the_sky_has_the_depth_of_a_sphere_about_the_origin():
    scene = only(BOX, (0.0, 0.0, -5.0), (1.0, 1.0, 1.0))
    pose = torch.tensor([3.0, 1.0, 1.5, 0.4, 0.8, 0.0])
    _, depth = render(scene, pose[None, None], 60.0, 16, 16)
    matrix = camera_to_world(pose)
    points = (pixel_rays(16, 16, 60.0) * depth[0, 0, ..., None]) @ matrix[:3, :3].T + matrix[:3, 3]
    assert torch.allclose(points.norm(dim=-1), torch.tensor(SKY_RADIUS), rtol=1e-4)


@pytest.mark.parametrize("style", ["apartment", "market", "garden", "warehouse"])
def test_a_point_seen_from_two_poses_has_the_same_place_and_colour(style):
    scene = build_scene(11, style)
    first = walk(scene, 30)[20]
    second = first.clone()
    second[3] += math.radians(12)
    size, fov = 96, 90.0
    frames, depth = render(stack_scenes([scene]), torch.stack([first, second])[None], fov, size, size)
    from_second = torch.linalg.inv(camera_to_world(second)) @ camera_to_world(first)
    points = pixel_rays(size, size, fov) * depth[0, 0, ..., None]
    points = points @ from_second[:3, :3].T + from_second[:3, 3]
    grid = points[..., :2] / points[..., 2:] * focal(fov)
    image = torch.cat([frames[0, 1].permute(2, 0, 1).float(), depth[0, 1:2]])[None]
    found = torch.nn.functional.grid_sample(image, grid[None], align_corners=False)[0]
    visible = (grid.abs() < 0.98).all(-1) & ((found[3] / points[..., 2] - 1).abs() < 0.01)
    assert visible.float().mean() > 0.6
    error = (found[:3] - frames[0, 0].permute(2, 0, 1)).abs().mean(0)[visible]
    assert error.mean() < 5 and (error < 24).float().mean() > 0.96


def test_a_batch_equals_its_scenes_alone():
    scenes = [build_scene(seed) for seed in (1, 2, 3)]
    poses = torch.stack([walk(scene, 40)[::10] for scene in scenes])
    fov = torch.tensor([60.0, 90.0, 110.0])
    frames, depth = render(stack_scenes(scenes), poses, fov, 40, 40)
    for i, scene in enumerate(scenes):
        frames_i, depth_i = render(stack_scenes([scene]), poses[i : i + 1], float(fov[i]), 40, 40)
        assert (frames_i[0].int() - frames[i].int()).abs().max() <= 1
        assert torch.allclose(depth_i[0], depth[i], rtol=1e-5)


def test_a_narrower_view_is_the_middle_of_a_wider_one():
    scene = build_scene(5)
    poses = walk(scene, 20)[None, 10:11]
    wide, wide_depth = render(stack_scenes([scene]), poses, 100.0, 64, 64)
    narrow, narrow_depth = render(stack_scenes([scene]), poses, cropped_fov(100.0, 64, 32), 32, 32)
    assert torch.allclose(narrow_depth, wide_depth[..., 16:48, 16:48], rtol=1e-4)
    assert psnr(narrow, wide[:, :, 16:48, 16:48]) > 35


@pytest.mark.parametrize("size", [(1, 1), (7, 13), (36, 84), (90, 50)])
def test_any_size_renders(size):
    scene = build_scene(3)
    frames, depth = render(stack_scenes([scene] * 2), walk(scene, 6).view(2, 3, 6), 90.0, *size)
    assert frames.shape == (2, 3, *size, 3) and frames.dtype == torch.uint8
    assert depth.shape == (2, 3, *size) and depth.dtype == torch.float32
    assert depth.isfinite().all() and (depth > 0.1).all()


@pytest.mark.parametrize("style", INDOOR)
def test_closed_rooms_have_no_holes(style):
    for seed in (4, 5):
        scene = build_scene(seed, style)
        poses = walk(scene, 60)[::4]
        poses[:, 4] = torch.linspace(-0.9, 0.9, len(poses))
        _, depth = render(stack_scenes([scene]), poses[None], 100.0, 48, 48)
        assert depth.max() < 40  # the sky is further away


def test_antialiasing_brings_a_frame_closer_to_one_of_many_rays():
    for seed in (2, 11):
        scene = stack_scenes([build_scene(seed)])
        poses = walk(build_scene(seed), 64)[None, ::16]
        many, _ = render(scene, poses, 90.0, 256, 256)
        many = many.float().view(1, -1, 64, 4, 64, 4, 3).mean((3, 5))
        smooth, smooth_depth = render(scene, poses, 90.0, 64, 64)
        plain, plain_depth = render(scene, poses, 90.0, 64, 64, antialias=False)
        assert psnr(smooth, many) > psnr(plain, many) + 1
        assert psnr(smooth, many) > 30
        assert torch.equal(smooth_depth, plain_depth)


def test_textures_are_read_at_the_footprint_of_a_pixel():
    """Too fine a level aliases and too coarse a level blurs: both are far from the mean over many rays."""
    for style, seed in (("kitchen", 1), ("bathhouse", 2), ("market", 4)):
        scene = build_scene(seed, style)
        poses = walk(scene, 64, seed)[None, ::16]
        many, _ = render(stack_scenes([scene]), poses, 90.0, 384, 384)
        few, _ = render(stack_scenes([scene]), poses, 90.0, 48, 48)
        assert psnr(few, many.float().view(1, -1, 48, 8, 48, 8, 3).mean((3, 5))) > 32.5


@pytest.mark.parametrize("style", STYLES)
def test_frames_are_neither_dark_nor_burnt_nor_empty(style):
    scene = build_scene(21, style)
    frames, _ = render(stack_scenes([scene]), walk(scene, 60)[None, ::6], 90.0, 48, 48)
    frames = frames.float()
    assert 40 < frames.mean() < 225
    assert ((frames < 4).all(-1) | (frames > 251).all(-1)).float().mean() < 0.1
    assert frames.flatten(2, 3).std(2).mean() > 12


def test_rendering_and_building_leave_global_random_states_alone():
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    scene = build_scene(8)
    first = render(stack_scenes([scene]), walk(scene, 3)[None], 90.0, 32, 32)
    second = render(stack_scenes([build_scene(8)]), walk(scene, 3)[None], 90.0, 32, 32)
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert torch.equal(torch_state, torch.get_rng_state())
    assert (numpy_state == np.random.get_state()[1]).all()


def test_depth_can_be_a_target_of_training():
    scene = build_scene(8)
    _, depth = render(stack_scenes([scene]), walk(scene, 2)[None], 90.0, 8, 8)
    weight = torch.ones((), requires_grad=True)
    (weight * depth).sum().backward()
    assert weight.grad == depth.sum()


@pytest.mark.parametrize("style", STYLES)
def test_walks_stay_free_and_move_like_the_actions(style):
    for seed in range(3):
        scene = build_scene(seed, style)
        poses = walk(scene, 200, seed)
        assert poses.shape == (200, 6) and poses.dtype == torch.float32
        midpoints = (poses[1:, :2] + poses[:-1, :2]) / 2
        assert is_free(scene, poses[:, :2], 0.24).all() and is_free(scene, midpoints, 0.1).all()
        motion = motion_between(poses[:-1], poses[1:])
        assert motion[:, :2].norm(dim=1).max() < 0.25 + 1e-4
        assert motion[:, 2:].abs().max() < math.radians(15) + 1e-4
        assert poses[:, 4].abs().max() < math.radians(30) + 1e-4
        assert (poses[:, 2] == 1.5).all()


def test_walks_go_through_doors_and_come_back():
    rooms_seen, revisits = [], []
    for seed in range(12):
        scene = build_scene(seed, "apartment")
        poses, ground = walk(scene, 300, seed), Ground(scene)
        rooms_seen.append(len({ground.room_of(*p) for p in poses[:, :2].tolist()}) / len(ground.rooms))
        gap = (poses[:, None, :2] - poses[:, :2]).norm(dim=-1) + (poses[:, None, 3] - poses[:, 3]).abs()
        later = torch.ones_like(gap).tril(-20) > 0
        revisits.append(((gap < 0.3) & later).any(1).float().mean())
    assert np.mean(rooms_seen) > 0.6 and np.mean(revisits) > 0.1


@pytest.mark.parametrize("style", STYLES)
def test_doors_can_be_walked_through_and_join_all_rooms(style):
    for seed in range(6):
        scene = build_scene(seed, style)
        links = scene.door_rooms[scene.door_rooms[:, 0] >= 0]
        for door in scene.door[: len(links)]:
            for side in (-0.5, -0.25, 0.0, 0.25, 0.5):
                assert is_free(scene, door[:2] + side * door[2:], 0.25)
        joined = {0}
        for _ in links:
            joined |= {r for pair in links.tolist() if joined & set(pair) for r in pair}
        assert len(joined) == int((scene.room_box[:, 3] > scene.room_box[:, 0]).sum())


def test_spawn_is_free_and_looks_into_the_open():
    for seed in range(30):
        scene = build_scene(seed)
        pose = spawn(scene, np.random.default_rng(seed))
        assert pose.shape == (6,) and is_free(scene, pose[:2])
        ahead = pose[:2] + torch.tensor([pose[3].cos(), pose[3].sin()]) * 0.6
        assert is_free(scene, ahead, 0.1)


@pytest.mark.parametrize("num_frames", [1, 2, 8, 13, 32])
def test_a_tour_looks_all_around_and_ends_at_the_start(num_frames):
    scene = build_scene(9)
    start = spawn(scene, np.random.default_rng(1))
    poses = tour(scene, num_frames, np.random.default_rng(2), start)
    assert poses.shape == (num_frames, 6) and torch.equal(poses[-1], start)
    assert is_free(scene, poses[:, :2], 0.19).all()
    if num_frames >= 8:
        here = poses[(poses[:, :2] == start[:2]).all(1)]
        yaw = torch.cat([here[:, 3].sort().values, here[:, 3].min()[None] + 2 * math.pi])
        assert yaw.diff().max() <= math.radians(45) + 1e-4
    if num_frames >= 13:
        assert ((poses[:, :2] - start[:2]).norm(dim=1) > 0.5).any()


def test_free_space_ends_at_walls_and_at_the_bounds():
    scene = build_scene(3, "apartment")
    x0, y0, x1, y1 = scene.bounds.tolist()
    outside = torch.tensor([[x0 - 1, y0], [x1 + 1, y1], [x0 + 0.1, (y0 + y1) / 2], [1e3, 1e3]])
    assert not is_free(scene, outside).any()
    assert is_free(scene, torch.rand(2, 3, 2)).shape == (2, 3)
    points = torch.rand(500, 2) * torch.tensor([x1 - x0, y1 - y0]) + torch.tensor([x0, y0])
    small, large = is_free(scene, points, 0.1), is_free(scene, points, 0.5)
    assert (large <= small).all() and large.sum() < small.sum()


def test_a_scene_is_a_function_of_seed_and_style():
    for seed, style in ((5, None), (5, "castle"), (1_000_003, None)):
        a, b = build_scene(seed, style), build_scene(seed, style)
        for field in dataclasses.fields(a):
            assert torch.equal(getattr(a, field.name), getattr(b, field.name)), field.name
    assert not torch.equal(build_scene(5).centre, build_scene(6).centre)
    assert walk(build_scene(5)).equal(walk(build_scene(5)))


def test_styles_look_different():
    pictures = []
    for style in STYLES:
        scenes = [build_scene(seed, style) for seed in range(4)]
        frames, _ = render(stack_scenes(scenes), torch.stack([walk(s, 30)[::6] for s in scenes]), 90.0, 32, 32)
        pictures.append(torch.histogramdd(frames.reshape(-1, 3).float(), bins=6, range=[0, 256] * 3).hist.flatten())
    pictures = torch.stack(pictures)
    pictures /= pictures.sum(1, keepdim=True)
    difference = (pictures[:, None] - pictures).abs().sum(-1) / 2 + torch.eye(len(pictures))
    assert difference.min() > 0.15


def test_held_out_styles_are_never_drawn():
    names = list(STYLES)
    assert len(STYLES) >= 14 and len(HELD_OUT_STYLES) >= 5 and set(HELD_OUT_STYLES) <= set(names)
    drawn = {names[build_scene(seed).style] for seed in range(400)}
    assert drawn == set(names) - set(HELD_OUT_STYLES)
    for style in HELD_OUT_STYLES:
        assert names[build_scene(0, style).style] == style


def weighed(*tensors):
    """One number that any change of any value changes."""
    flat = torch.cat([tensor.double().flatten() for tensor in tensors])
    return (flat * torch.arange(len(flat), dtype=torch.float64).cos()).sum().item()


# Published figures are of these scenes: styles and textures are appended, and draws keep their order.
@pytest.mark.parametrize(
    ("seed", "style", "expected"),
    [
        (7, None, 65.546),
        (1_000_003, None, 120.742),
        (2_000_000, None, -67.987),
        (2_000_011, None, -51.736),
        (5, "harbour", -216.207),
    ],
)
def test_the_scene_of_a_seed_is_for_ever(seed, style, expected):
    scene = build_scene(seed, style)
    parts = [getattr(scene, field.name) for field in dataclasses.fields(scene) if field.name != "seed"]
    assert weighed(*parts) == pytest.approx(expected, abs=1e-2)


def test_the_first_sixty_textures_are_for_ever():
    assert weighed(torch.from_numpy(texture_maps()[:60])) == pytest.approx(42.279, abs=1e-2)


def test_some_held_out_styles_have_textures_and_pieces_that_training_never_shows():
    def made_of(names):
        styles = [STYLES[name] for name in names]
        surfaces = {surface.texture for style in styles for surface in (*style.walls, *style.floors, *style.ceilings)}
        return surfaces, {piece for style in styles for piece in style.furniture}

    textures, pieces = made_of(TRAINING_STYLES)
    for style in ("station", "canyon", "playroom"):
        own_textures, own_pieces = made_of([style])
        assert not own_textures & textures and len(own_pieces - pieces) >= 3


def test_splits_are_disjoint_and_fixed():
    assert [SPLITS[s] for s in ("train", "validation", "test")] == [
        range(1_000_000),
        range(1_000_000, 1_001_000),
        range(2_000_000, 2_001_000),
    ]
    for name in SPLITS:
        seeds = split_seeds(name, 10)
        assert len(set(seeds)) == 10 and all(split_of(seed) == name for seed in seeds)
    assert len(split_seeds("test")) == 1000


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, r: build_scene(0, "kitchin"), "style is 'kitchin'.*did you mean 'kitchen'"),
        (lambda s, r: build_scene(-1), "seed is -1, which is in no split"),
        (lambda s, r: build_scene(1.5), "seed is 1.5; expected an integer"),
        (lambda s, r: split_of(1_500_000), "seed is 1500000.*validation 1000000..1000999"),
        (lambda s, r: split_seeds("dev"), "split is 'dev'; expected one of train"),
        (lambda s, r: split_seeds("test", 1001), "n is 1001; the test split has 1000 seeds"),
        (lambda s, r: stack_scenes([]), "scenes is empty"),
        (lambda s, r: stack_scenes([stack_scenes([s])]), r"scenes\[0\] is already a batch"),
        (lambda s, r: render(s, torch.zeros(1, 1, 6), 90, 8, 8), "scene is a single scene.*stack_scenes"),
        (lambda s, r: render(stack_scenes([s]), torch.zeros(1, 6), 90, 8, 8), r"poses is \(1, 6\); expected"),
        (lambda s, r: render(stack_scenes([s]), torch.zeros(2, 1, 6), 90, 8, 8), r"poses is \(2, 1, 6\).*B = 1"),
        (lambda s, r: render(stack_scenes([s]), torch.full((1, 1, 6), math.nan), 90, 8, 8), "poses holds NaN"),
        (lambda s, r: render(stack_scenes([s]), torch.zeros(1, 1, 6), 180, 8, 8), "fov is 180.*degrees between"),
        (lambda s, r: render(stack_scenes([s]), torch.zeros(1, 1, 6), torch.ones(2), 8, 8), r"fov has shape \(2,\)"),
        (lambda s, r: render(stack_scenes([s]), torch.zeros(1, 1, 6), 90, -8, 8), "height is -8"),
        (lambda s, r: render(stack_scenes([s]), torch.zeros(1, 1, 6), 90, 8, 0), "width is 0"),
        (lambda s, r: is_free(s, torch.zeros(3)), r"xy has shape \(3,\)"),
        (lambda s, r: is_free(s, torch.tensor([math.nan, 0])), "xy holds NaN"),
        (lambda s, r: is_free(s, torch.zeros(2), -1), "radius is -1"),
        (lambda s, r: is_free(stack_scenes([s]), torch.zeros(2)), "scene is a batch"),
        (lambda s, r: random_walk(s, 0, r), "length is 0; expected a positive integer"),
        (lambda s, r: random_walk(s, 5, r, step_length=-0.1), "step_length is -0.1"),
        (lambda s, r: random_walk(s, 5, r, turn_angle=math.nan), "turn_angle is nan"),
        (lambda s, r: tour(s, 0, r, torch.zeros(6)), "num_frames is 0"),
        (lambda s, r: tour(s, 3, r, torch.full((6,), math.nan)), "start is .*one finite pose"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(build_scene(1), np.random.default_rng(0))
