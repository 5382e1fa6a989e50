"""Bodies among surfaces: what stops them, where, and what does not."""

import json
import math

import numpy as np
import pytest
import torch
from batches import make_vec
from helpers import FORWARD, TURN_LEFT, make

from ctxmem_env import dynamics
from ctxmem_env.camera import move
from ctxmem_env.cli import main
from ctxmem_env.dynamics import GAP, VIEWS, SeenSurfaces, choose_views, limit_motion, surface_points, sweep_points
from ctxmem_env.evaluation.collisions import evaluate_collisions
from ctxmem_env.evaluation.tables import collisions_table, read_results
from ctxmem_env.memory import FrameMemory
from ctxmem_env.scenes import build_scene, is_free, random_walk, spawn, stack_scenes, sweep_scenes
from ctxmem_env.testing import PoseGenerator
from ctxmem_env.true_scene import TrueSceneGenerator
from ctxmem_env.world import SceneWorld

RADIUS, FOV = 0.15, torch.tensor([90.0])
AHEAD = torch.tensor([[0.25, 0.0, 0.0, 0.0]])


def remember(depth, poses):
    """A memory of one world with depth (n, H, W) seen from poses (n, 6)."""
    memory = FrameMemory(1, *depth.shape[1:])
    for one, pose in zip(depth, poses, strict=True):
        memory.append(torch.zeros(1, *one.shape, 3, dtype=torch.uint8), one[None], pose[None])
    return memory


def wall(distance, views=1):
    """A wall that stands `distance` metres ahead of a camera, seen from there."""
    return remember(torch.full((views, 64, 64), distance), stand().expand(views, 6))


def stand(x=0.0, y=0.0, yaw=0.0, z=1.5):
    return torch.tensor([[x, y, z, yaw, 0.0, 0.0]])


@pytest.mark.parametrize("distance", [0.3, 0.35, 0.42])
def test_a_body_stops_before_the_wall_that_it_saw(distance):
    free, cut = SeenSurfaces(RADIUS).limit(wall(distance), stand(), AHEAD, FOV)
    assert cut.tolist() == [True]
    # Points lie up to a pixel beside the way, where a disc touches a wall a little later.
    assert float(free[0, 0]) == pytest.approx(distance - RADIUS - GAP, abs=0.004)
    assert free[0, 1:].tolist() == [0, 0, 0]


def test_a_way_that_is_free_is_walked_to_the_bit():
    motion = torch.tensor([[0.21, 0.13, 0.3, -0.1]])
    free, cut = SeenSurfaces(RADIUS).limit(wall(2.0), stand(yaw=0.3), motion, FOV)
    assert torch.equal(free, motion) and not cut.any()


def test_turns_are_never_cut():
    motion = torch.tensor([[0.25, 0.0, 0.3, -0.1]])
    free, cut = SeenSurfaces(RADIUS).limit(wall(0.3), stand(), motion, FOV)
    assert cut.all() and torch.equal(free[:, 2:], motion[:, 2:])


def test_what_no_frame_has_seen_stops_nobody():
    back = -AHEAD
    assert not SeenSurfaces(RADIUS).limit(wall(0.3), stand(), back, FOV)[1].any()
    assert not SeenSurfaces(RADIUS).limit(wall(0.3), stand(yaw=math.pi), AHEAD, FOV)[1].any()


def test_a_remembered_wall_stops_a_body_that_looks_away():
    back = -AHEAD
    free, cut = SeenSurfaces(RADIUS).limit(wall(1.0), stand(x=0.7, yaw=math.pi), back, FOV)
    assert cut.all() and float(free[0, 0]) == pytest.approx(-(0.3 - RADIUS - GAP), abs=0.01)


def test_a_body_at_a_wall_may_leave_it_and_walk_along_it():
    memory, dynamics = wall(1.0), SeenSurfaces(RADIUS)
    pose = stand(x=1 - RADIUS - GAP)
    along = torch.tensor([[0.0, 0.25, 0.0, 0.0]])
    for motion in (-AHEAD, along, -along):
        assert not dynamics.limit(memory, pose, motion, FOV)[1].any()
    free, cut = dynamics.limit(memory, pose, AHEAD, FOV)
    assert cut.all() and float(free[0, 0]) == pytest.approx(0, abs=0.005)


@pytest.mark.parametrize("yaw", [-0.6, 0.6])
def test_sliding_follows_the_wall_and_never_enters_it(yaw):
    memory, pose = wall(1.0), stand(x=0.7, yaw=yaw)
    free, cut = SeenSurfaces(RADIUS, sliding=True).limit(memory, pose, AHEAD, FOV)
    place = move(pose, free)[0]
    assert cut.all()
    assert float(place[0]) <= 1 - RADIUS - GAP + 0.01
    stopped = move(pose, SeenSurfaces(RADIUS).limit(memory, pose, AHEAD, FOV)[0])[0]
    assert abs(float(place[1])) > abs(float(stopped[1])) + 0.05
    assert math.copysign(1, place[1]) == math.copysign(1, yaw)


def test_floors_and_ceilings_are_no_obstacles():
    down = torch.tensor([[0.0, 0.0, 1.5, 0.0, -1.0, 0.0]])
    rays = (1 - 2 * (torch.arange(64) + 0.5) / 64)[:, None]
    height = math.cos(1.0) * rays - math.sin(1.0)  # of a ray's end above the camera at depth 1
    for level in (-1.5, 0.6):
        depth = (level / height.where(height * level > 0, torch.inf)).expand(64, 64)
        depth = depth.where(depth > 0, 100.0)
        pose = down.clone()
        memory = remember(depth[None], pose)
        points, valid = surface_points(depth[None, None], pose[None], torch.ones(1, 1, dtype=torch.bool), FOV, pose)
        assert points.isfinite().all()
        assert not SeenSurfaces(RADIUS).limit(memory, stand(), AHEAD, FOV)[1].any()
        assert not valid.any() or level > 0


def test_a_single_mistaken_point_or_frame_stops_nobody():
    depth = torch.full((2, 64, 64), 3.0)
    depth[:, 33, 33] = 0.3
    memory = remember(depth, stand().expand(2, 6))
    assert not SeenSurfaces(RADIUS).limit(memory, stand(), AHEAD, FOV)[1].any()
    depth[1] = 0.3
    memory = remember(depth, stand().expand(2, 6))
    assert not SeenSurfaces(RADIUS).limit(memory, stand(), AHEAD, FOV)[1].any()


def test_a_wall_that_others_cannot_see_stops_a_body_if_the_newest_frame_confirms_it():
    """All frames that are asked but the first look at a screen nearby; the newest looks at the wall, from the body."""

    def stopped(newest):
        poses = torch.cat([stand(-1.0), *[stand(-1.5)] * VIEWS])
        depth = torch.tensor([1.35, *[1.2] * VIEWS])[:, None, None].expand(-1, 64, 64)
        if newest is not None:
            poses, depth = torch.cat([poses, stand()]), torch.cat([depth, torch.full((1, 64, 64), newest)])
        return SeenSurfaces(RADIUS).limit(remember(depth, poses), stand(), AHEAD, FOV)[1].item()

    assert stopped(0.35)
    assert not stopped(2.0) and not stopped(None)


def test_worlds_of_a_batch_do_not_touch_each_other():
    rng = torch.Generator().manual_seed(0)
    points = torch.rand(5, 3, 40, 2, generator=rng) - 0.5
    valid = torch.rand(5, 3, 40, generator=rng) > 0.3
    angle = torch.rand(5, generator=rng) * 6
    way = torch.stack([angle.cos(), angle.sin()], dim=-1)
    free, normal = sweep_points(points, valid, way, RADIUS)
    for i in range(5):
        own = sweep_points(points[i : i + 1], valid[i : i + 1], way[i : i + 1], RADIUS)
        assert torch.equal(own[0][0], free[i]) and torch.allclose(own[1][0], normal[i])


def test_frames_are_asked_that_show_where_the_body_goes():
    poses = torch.stack([stand(x, yaw=yaw)[0] for x in (-1.5, -0.1, -7.0) for yaw in (0.0, math.pi / 2, math.pi)])
    picks = choose_views(poses[None], torch.tensor([9]), stand(), AHEAD, FOV)
    assert picks.shape == (1, VIEWS)
    assert picks[0, 0] == 0 and set(picks[0].tolist()) == {0, 3, 6, -1}
    assert choose_views(poses[None], torch.tensor([2]), stand(), AHEAD, FOV)[0].tolist().count(-1) == VIEWS - 1


def test_of_a_long_memory_those_frames_are_asked_that_would_be_if_all_were_looked_at(monkeypatch):
    walks = [random_walk(build_scene(seed), 4000, np.random.default_rng(seed)).float() for seed in range(2)]
    memory, lengths, fov = torch.stack(walks), torch.tensor([4000, 2500]), torch.tensor([90.0, 70.0])
    motion = torch.tensor([[0.25, 0.0, 0.0, 0.0], [0.0, 0.2, 0.0, 0.0]])
    numbers = range(0, 2500, 100)
    few = [choose_views(memory, lengths, memory[:, i], motion, fov) for i in numbers]
    looked_at = []
    score = dynamics._score_views
    monkeypatch.setattr(
        dynamics, "_score_views", lambda poses, *rest: looked_at.append(poses.shape[1]) or score(poses, *rest)
    )
    assert all(torch.equal(choose_views(memory, lengths, memory[:, i], motion, fov), few[i // 100]) for i in numbers)
    assert sum(looked_at) < 0.7 * 4000 * len(few)
    monkeypatch.setattr(dynamics, "_FEW", 10_000)
    assert all(torch.equal(choose_views(memory, lengths, memory[:, i], motion, fov), few[i // 100]) for i in numbers)


def test_the_scene_ends_a_way_where_its_ground_is_no_longer_free():
    checked = 0
    for seed in range(8):
        scene, rng = build_scene(seed), np.random.default_rng(seed)
        if bool((scene.kind == 3).any()):
            continue  # of ellipsoids `is_free` counts the widest slice, also where it is above the head
        start = torch.stack([spawn(scene, rng) for _ in range(20)])[:, :2]
        angle = torch.from_numpy(rng.uniform(-math.pi, math.pi, 20)).float()
        way = torch.stack([angle.cos(), angle.sin()], dim=-1)
        free, normal = sweep_scenes(stack_scenes([scene] * 20), start, way, RADIUS)
        assert ((normal * way).sum(-1) < 0).all()
        for at, expected in ((free - 0.01, True), (free + 0.01, False)):
            grazing = (normal * way).sum(-1).abs() < 0.3
            assert bool((is_free(scene, start + at[:, None] * way, RADIUS) == expected)[~grazing].all())
            checked += int((~grazing).sum())
    assert checked > 40


def test_a_body_that_overlaps_an_object_may_leave_it_but_not_go_deeper():
    scene = build_scene(3)
    start = spawn(scene, np.random.default_rng(0))[None, :2]
    east = torch.tensor([[1.0, 0.0]])
    free, normal = sweep_scenes(stack_scenes([scene]), start, east, RADIUS)
    touching = start + (free + 0.02)[:, None] * east
    assert float(sweep_scenes(stack_scenes([scene]), touching, -normal, RADIUS)[0]) == 0
    assert float(sweep_scenes(stack_scenes([scene]), touching, normal, RADIUS)[0]) > 0.1


def test_worlds_that_stand_still_do_not_collide():
    world = SceneWorld(PoseGenerator(), 2, dynamics=SeenSurfaces(RADIUS))
    for i in range(2):
        world.reset(i, torch.zeros(1, 48, 48, 3, dtype=torch.uint8), torch.full((1, 48, 48), 0.3), stand(), 90.0, 0)
    step = world.advance(AHEAD.expand(2, 4), torch.tensor([True, False]))
    assert step.collided.tolist() == [True, False]
    assert float(step.poses[0, 0]) == pytest.approx(0.1, abs=0.01) and float(step.poses[1, 0]) == 0


def test_exact_depth_stops_a_body_where_the_scene_does():
    agree = evaluate_collisions(_Exact(), scenes=1, steps=60, first_scene=3, quiet=True)
    assert agree["collisions"] > 5
    assert agree["precision"] > 0.9 and agree["recall"] > 0.9


class _Exact(TrueSceneGenerator):
    """The renderer in the place of a model, in the scene that the test walks through."""

    def __init__(self):
        super().__init__(64, 64)
        self.scenes = stack_scenes([build_scene(2_000_003)])


def test_a_body_never_enters_the_true_scene():
    env = make("CtxMemTrueScene-v0")
    collided = 0
    for seed in (1, 2):
        env.reset(seed=seed, options={"scene": seed})
        scene = build_scene(seed)
        for i in range(40):
            *_, info = env.step(TURN_LEFT if i % 10 == 9 else FORWARD)
            collided += info["collision"]
            assert bool(is_free(scene, torch.from_numpy(info["pose"][:2]), RADIUS - 0.001))
    assert collided > 5


def test_without_collisions_the_camera_walks_through_walls():
    env = make("CtxMemTrueScene-v0", collisions=False)
    _, info = env.reset(seed=1, options={"scene": 1})
    start = info["pose"]
    for i in range(40):
        info = env.step(FORWARD)[-1]
        assert info["collision"] is False
        assert np.hypot(*(info["pose"] - start)[:2]) == pytest.approx(0.25 * (i + 1), abs=1e-4)


def test_a_batch_collides_as_single_worlds_do():
    envs = make_vec(env_id="CtxMemTrueScene-v0", sliding=True)
    envs.reset(seed=[1, 2, 3], options={"worlds": [{"scene": 1}, {"scene": 2}, {"scene": 3}]})
    infos = [envs.step(np.full(3, FORWARD))[-1] for _ in range(20)]
    flags = np.stack([info["collision"] for info in infos])
    assert flags.dtype == bool and flags.any() and all(info["_collision"].all() for info in infos)
    for i in range(3):
        env = make("CtxMemTrueScene-v0", sliding=True)
        env.reset(seed=1 + i, options={"scene": 1 + i})
        alone = [env.step(FORWARD)[-1] for _ in range(20)]
        assert [info["collision"] for info in alone] == flags[:, i].tolist()
        np.testing.assert_allclose(alone[-1]["pose"], infos[-1]["pose"][i], atol=1e-5)


def test_a_generated_world_stops_at_what_its_tour_has_seen():
    env = make(tour=12)
    env.reset(seed=1, options={"scene": 1})
    collided = [env.step(FORWARD)[-1]["collision"] for _ in range(40)]
    assert any(collided) and not all(collided)


def test_limit_motion_takes_any_sweep():
    def sweep(start, way):
        return torch.tensor([0.2, torch.inf]), torch.tensor([[-1.0, 0.0], [0.0, 0.0]])

    free, cut = limit_motion(AHEAD.expand(2, 4), stand().expand(2, 6), sweep, False)
    assert cut.tolist() == [True, False]
    torch.testing.assert_close(free[:, 0], torch.tensor([0.2 - GAP, 0.25]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"collisions": 1}, r"collisions=1 is a int; expected True or False"),
        ({"sliding": "yes"}, r"sliding='yes' is a str; expected True or False"),
        ({"body_radius": 0.0}, r"body_radius=0.0; expected metres, from 0.02 to 1.0"),
        ({"body_radius": float("nan")}, r"body_radius=nan; expected metres"),
        ({"body_radius": True}, r"body_radius=True; expected metres"),
        ({"sliding": True, "collisions": False}, r"sliding=True, but with collisions=False there is nothing"),
    ],
)
def test_bodies_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


@pytest.mark.slow
def test_the_packaged_model_collides_where_the_true_scene_does():
    agree = evaluate_collisions("nano", scenes=8, steps=60, quiet=True)
    assert agree["precision"] > 0.8 and agree["recall"] > 0.8


def test_too_many_scenes_are_refused():
    with pytest.raises(ValueError, match=r"first_scene=999 is out of range"):
        evaluate_collisions(PoseGenerator(), scenes=2, first_scene=999)


def test_the_command_measures_collisions(untrained_model, tmp_path, capsys):
    out = tmp_path / "collisions.json"
    arguments = f"evaluate --protocol collisions --scenes 1 --steps 8 --tours 2 --quiet --out {out} --model"
    assert main([*arguments.split(), str(untrained_model)]) == 0
    figures = json.loads(out.read_text())["figures"]
    assert [one["tour"] for one in figures] == [2] and figures[0]["motions"] > 0
    assert json.loads(capsys.readouterr().out)["figures"] == figures
    head, _, row, _, note = collisions_table(read_results(out)).splitlines()
    assert head.count("|") == row.count("|") and row.startswith("| 2 | ")
    assert f" | {figures[0]['motions']} | {figures[0]['collisions']} | " in row
    assert "8 steps through 1 test scenes (seeds 2000000 to 2000000)" in note
    assert main([*arguments.split(), str(untrained_model), "--num-steps", "2"]) == 2
    assert "num_steps='2' has no meaning for protocol='collisions'" in capsys.readouterr().err
