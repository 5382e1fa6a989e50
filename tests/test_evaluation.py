"""Evaluation: known figures, painters that only copy, and protocols that show a generator what they say they do."""

import json
import math

import pytest
import torch
from PIL import Image

from ctxmem_env.evaluation.baselines import CopyGenerator
from ctxmem_env.evaluation.metrics import mean_interval, psnr, student_quantile
from ctxmem_env.evaluation.protocols import follow, true_walks
from ctxmem_env.evaluation.run import evaluate
from ctxmem_env.evaluation.tables import read_results, results_table
from ctxmem_env.generator import Context, Generated, Generator
from ctxmem_env.scenes import build_scene, render, split_of, split_seeds, stack_scenes

SIZE = 16
SEEDS = split_seeds("test", 2)


@pytest.fixture(scope="module")
def walks():
    return true_walks(SEEDS, steps=4, tour_frames=2, height=SIZE, width=SIZE)


class Recorder:
    """A generator that paints the number of its call and keeps every context that it is shown."""

    height = width = SIZE
    default_num_steps = 1

    def __init__(self):
        self.contexts, self.poses, self.estimated, self.asked_steps = [], [], [], []

    def encode(self, frames, depth, poses, fov):
        return {}

    def generate(self, poses, context, fov, num_steps, generators):
        self.contexts.append(context)
        self.poses.append(poses)
        self.asked_steps.append(num_steps)
        shape = (len(poses), SIZE, SIZE)
        number = len(self.contexts)
        frames = torch.full((*shape, 3), number, dtype=torch.uint8)
        return Generated(frames, torch.full(shape, 5.0), torch.full(shape, 0.25))

    def estimate_depth(self, frames, poses, fov):
        self.estimated.append(frames)
        return torch.full(frames.shape[:3], 2.0)


def test_psnr_of_known_errors():
    truth = torch.full((4, 8, 8, 3), 100, dtype=torch.uint8)
    prediction = truth.clone()
    prediction[1] += 1
    prediction[2, :4] += 10  # half of the pixels: mean square 50
    prediction[3] = 0
    expected = [78.13, 48.13, 10 * math.log10(255**2 / 50), 20 * math.log10(2.55)]
    assert psnr(prediction, truth).tolist() == pytest.approx(expected, abs=0.01)
    black, white = torch.zeros(1, 2, 2, 3, dtype=torch.uint8), torch.full((1, 2, 2, 3), 255, dtype=torch.uint8)
    assert psnr(black, white).tolist() == pytest.approx([0.0])


def test_the_interval_covers_the_mean_of_independent_scenes():
    mean, half = mean_interval(torch.tensor([1.0, 2.0, 3.0, 6.0]))
    assert mean == 3.0 and half == pytest.approx(3.182446 * math.sqrt(14 / 3 / 4))
    assert math.isnan(mean_interval(torch.tensor([1.0]))[1])


def test_intervals_of_few_scenes_cover_the_mean_as_often_as_they_say():
    # Quantiles of Student's t from the tables of NIST.
    expected = {1: 12.706, 2: 4.303, 7: 2.365, 8: 2.306, 31: 2.040, 100: 1.984}
    assert {freedom: round(student_quantile(freedom), 3) for freedom in expected} == expected
    values = torch.randn(4000, 8, generator=torch.Generator().manual_seed(0))
    intervals = [mean_interval(row) for row in values]
    covered = sum(abs(mean) < half for mean, half in intervals) / len(intervals)
    assert covered == pytest.approx(0.95, abs=0.01)


def some_context():
    """Three remembered frames of two worlds: the newest looks away, the second one looks where we do."""
    frames = torch.arange(6, dtype=torch.uint8).view(2, 3, 1, 1, 1).expand(2, 3, SIZE, SIZE, 3) * 10
    poses = torch.zeros(2, 3, 6)
    poses[:, 0, 3] = math.pi
    poses[:, 2, 3] = 1.0
    return Context(frames, torch.ones(2, 3, SIZE, SIZE), poses, torch.ones(2, 3, dtype=torch.bool))


def copy(which, context):
    view = CopyGenerator(which, SIZE, SIZE).generate(torch.zeros(2, 6), context, torch.full((2,), 90.0), 1, [])
    assert view.frames.shape == (2, SIZE, SIZE, 3) and view.depth.shape == view.own_weight.shape == (2, SIZE, SIZE)
    return [frame.unique().tolist() for frame in view.frames]


def test_copying_painters_repeat_the_newest_or_the_best_retrieved_frame():
    assert copy("newest", some_context()) == [[0], [30]]
    assert copy("best", some_context()) == [[10], [40]]


def test_copying_painters_pass_over_empty_slots_and_paint_grey_without_any():
    context = some_context()
    context.mask[0, 1] = False
    context.mask[1] = False
    assert copy("best", context) == [[20], [128]]
    assert copy("newest", context) == [[0], [128]]


def test_copying_painters_are_generators_of_two_kinds():
    assert isinstance(CopyGenerator("best", SIZE, SIZE), Generator)
    with pytest.raises(ValueError, match="which='worst'; expected 'newest' or 'best'"):
        CopyGenerator("worst", SIZE, SIZE)


def test_walks_are_functions_of_their_seeds(walks):
    again = true_walks(SEEDS[1:], steps=4, tour_frames=2, height=SIZE, width=SIZE)
    for name in ("frames", "depth", "poses"):
        assert torch.equal(getattr(again, name)[0], getattr(walks, name)[1])
        assert not torch.equal(getattr(walks, name)[0], getattr(walks, name)[1])
    assert walks.seeded == 3 and walks.frames.shape == (2, 7, SIZE, SIZE, 3) and walks.seeds == SEEDS
    frames, _ = render(stack_scenes([build_scene(SEEDS[0])]), walks.poses[:1], 90.0, SIZE, SIZE)
    assert torch.equal(frames[0], walks.frames[0])


def test_no_two_views_of_a_walk_are_the_same(walks):
    """A copy of a frame from the very same place would be perfect, and outweigh all others."""
    for poses in walks.poses:
        apart = (poses[:, None, :4] - poses[None, :, :4]).abs().amax(-1)
        assert (apart + torch.eye(len(poses)) > 1e-4).all()


@pytest.mark.parametrize("replay", [True, False])
def test_the_camera_of_the_world_follows_the_walk(walks, replay):
    recorder = Recorder()
    follow(recorder, walks, replay, num_context=4)
    for t, poses in enumerate(recorder.poses):
        torch.testing.assert_close(poses, walks.poses[:, walks.seeded + t], atol=1e-4, rtol=0)
    assert recorder.asked_steps == [1] * 4


def found_in(frame, frames):
    return any(torch.equal(frame, other) for other in frames)


def test_replay_remembers_true_frames_and_scores_the_painted_ones(walks):
    recorder = Recorder()
    walked = follow(recorder, walks, replay=True, num_context=4)
    for t, context in enumerate(recorder.contexts):
        for world in range(2):
            past = walks.frames[world, : walks.seeded + t]
            assert torch.equal(context.frames[world, 0], past[-1])  # the newest is the anchor
            used = context.frames[world][context.mask[world]]
            assert all(found_in(frame, past) for frame in used)
    # What is remembered of depth is the generator's: true depth is not given away.
    assert set(recorder.contexts[-1].depth[:, 0].unique().tolist()) == {5.0}
    assert walked.frames[:, :, 0, 0, 0].tolist() == [[1, 2, 3, 4]] * 2
    torch.testing.assert_close(walked.psnr, psnr(walked.frames, walks.frames[:, walks.seeded :]))


def test_rollout_lives_on_its_own_frames(walks):
    recorder = Recorder()
    walked = follow(recorder, walks, replay=False, num_context=4)
    for t, context in enumerate(recorder.contexts):
        newest = context.frames[:, 0]
        if t == 0:
            assert torch.equal(newest, walks.frames[:, walks.seeded - 1])
        else:
            assert (newest == t).all()
        for world in range(2):
            future = walks.frames[world, walks.seeded :]
            assert not any(found_in(frame, future) for frame in context.frames[world][context.mask[world]])
    assert walked.frames[:, :, 0, 0, 0].tolist() == [[1, 2, 3, 4]] * 2
    assert (walked.own_weight == 0.25).all() and (walked.depth == 5).all()


@pytest.mark.parametrize("replay", [True, False])
def test_a_seed_without_depth_has_the_depth_that_was_estimated(walks, replay):
    recorder = Recorder()
    follow(recorder, walks, replay, num_context=4, exact_seed_depth=False)
    for i, frames in enumerate(recorder.estimated):
        assert torch.equal(frames, walks.frames[i, : walks.seeded])
    toured = recorder.contexts[0].depth[recorder.contexts[0].mask]
    assert (toured == 2).all()


def test_a_seed_with_exact_depth_is_not_estimated(walks):
    recorder = Recorder()
    follow(recorder, walks, replay=True, num_context=4)
    assert not recorder.estimated
    newest = recorder.contexts[0].depth[:, 0]
    torch.testing.assert_close(newest, walks.depth[:, walks.seeded - 1], rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module")
def results(untrained_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    out, sheet = folder / "new" / "results.json", folder / "sheets" / "walks.png"
    options = {"scenes": 2, "steps": 3, "num_context": 2, "tours": (1, 0), "device": "cpu", "quiet": True}
    return evaluate(str(untrained_model), out=out, sheet=sheet, **options), out, sheet


def test_results_are_written_with_their_circumstances(results):
    returned, out, sheet = results
    assert json.loads(out.read_text()) == returned
    assert returned.keys() == {
        "version",
        "model",
        "scenes",
        "steps",
        "num_steps",
        "num_context",
        "weights",
        "machine",
        "commit",
        "figures",
    }
    assert (returned["steps"], returned["num_steps"], returned["num_context"]) == (3, 1, 2)
    assert returned["machine"]["torch"] == torch.__version__
    with Image.open(sheet) as image:  # generated above true, for each of two walks
        assert image.size[1] == 2 * 2 * 2 * 48


def test_every_painter_is_measured_by_every_protocol(results):
    figures = results[0]["figures"]
    runs = [(figure["protocol"], figure["tour"], figure["painter"]) for figure in figures]
    painters = ("generator", "generator_estimated_depth", "copy_best", "copy_newest")
    assert sorted(runs) == sorted((p, t, n) for p in ("replay", "rollout") for t in (1, 0) for n in painters)
    for figure in figures:
        by_step = figure["psnr_db_by_step"]
        assert len(by_step) == 3 and figure["psnr_db"] == pytest.approx(sum(by_step) / 3, abs=0.02)
        assert ("own_share" in figure) == figure["painter"].startswith("generator")
    # A rollout of copies of the newest frame stands still at the first one.
    walks = true_walks(SEEDS, 3, 0, 48, 48)
    expected = psnr(walks.frames[:, :1].expand(2, 3, 48, 48, 3), walks.frames[:, 1:]).mean(0)
    (still,) = (f for f in figures if (f["protocol"], f["tour"], f["painter"]) == ("rollout", 0, "copy_newest"))
    assert still["psnr_db_by_step"] == pytest.approx(expected.tolist(), abs=0.01)


def test_only_test_scenes_are_evaluated(results):
    scenes = results[0]["scenes"]
    assert scenes["split"] == "test" and scenes["seeds"] == SEEDS
    assert {split_of(seed) for seed in range(scenes["seeds"][0], scenes["seeds"][1] + 1)} == {"test"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scenes": 1}, r"scenes=1 is out of range; expected an integer in \[2, 1000\]"),
        ({"scenes": 1001}, r"scenes=1001 is out of range"),
        ({"steps": 0}, r"steps=0 is out of range; expected an integer of at least 1"),
        ({"num_steps": 0}, r"num_steps=0 is out of range"),
        ({"num_context": -1}, r"num_context=-1 is out of range"),
        ({"tours": (3, -1)}, r"tours=-1 is out of range; expected an integer of at least 0"),
        ({"model": "no such model"}, r"model='no such model' is unknown"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused_before_anything_is_measured(untrained_model, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        evaluate(**{"model": str(untrained_model), "out": tmp_path / "results.json", "quiet": True, **options})
    assert list(tmp_path.iterdir()) == []


def test_the_table_shows_the_figures_of_the_file(results):
    _, out, _ = results
    read = read_results(out)
    table = results_table(read)
    head, *_ = table.splitlines()
    runs = [(protocol, tour) for tour in (1, 0) for protocol in ("replay", "rollout")]
    places = {"replay": "true frames in memory, tour of {}", "rollout": "its own frames in memory, tour of {}"}
    assert [cell.strip() for cell in head.split("|")[2:-1]] == [
        places[protocol].format(tour) for protocol, tour in runs
    ]
    for painter, name in (("generator", "**untrained**"), ("copy_newest", "copy of the newest frame")):
        row = next(line for line in table.splitlines() if line.startswith(f"| {name} |"))
        found = {(f["protocol"], f["tour"]): f["psnr_db"] for f in read["figures"] if f["painter"] == painter}
        cells = row.split("|")[2:-1]
        assert [float(cell.split("±")[0]) for cell in cells] == [found[run] for run in runs]
    assert "Walks of 3 steps through 2 test scenes" in table


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", r"results: .*some\.json cannot be read .*make it with `ctxmem evaluate`"),
        (b"\x89PNG\xff", r"results: .*some\.json cannot be read"),
        (b"[]", r"results: .*some\.json has version None, expected 2; make it anew"),
        (b'{"version": 0}', r"results: .*some\.json has version 0, expected 2"),
    ],
)
def test_a_file_that_holds_no_results_is_refused(tmp_path, data, message):
    (tmp_path / "some.json").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        read_results(tmp_path / "some.json")
    with pytest.raises(ValueError, match=r"results: .*none\.json cannot be read"):
        read_results(tmp_path / "none.json")
