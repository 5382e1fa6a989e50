"""New content: the features that judge it, the distance in them, and what known generators score."""

import json

import pytest
import torch
from protocol_generators import Noise, exact
from safetensors.torch import save_file
from torchmetrics.image.fid import FrechetInceptionDistance

from ctxmem_env.evaluation.features import (
    DIM,
    LAYOUTS,
    WEIGHTS,
    FrameFeatures,
    features_of,
    frechet_distance,
    load_features,
)
from ctxmem_env.evaluation.loop import measure_loop
from ctxmem_env.evaluation.new_content import combine_new_content, measure_new_content, new_content_cases
from ctxmem_env.evaluation.train_features import labelled_frames, train_features
from ctxmem_env.scenes import STYLES, split_seeds

SEEDS = split_seeds("validation", 4)
SIZE = 32


@pytest.fixture(scope="module")
def found():
    """What generators score on the turn, with the distances of each."""
    scores = {}
    for name, generator in (("exact", exact(SEEDS, SIZE)), ("noise", Noise(SIZE))):
        values = measure_new_content(generator, SEEDS, "turn")
        scores[name] = values | {key: mean for key, (mean, _) in combine_new_content(values).items()}
    return scores


def test_a_perfect_generator_has_no_distance_to_the_truth(found):
    exact = found["exact"]
    assert exact["frechet"] < 0.001 * exact["frechet_true"]
    assert exact["frechet_other"] == pytest.approx(exact["frechet_true"], rel=0.01)
    assert exact["gradient_ratio"] == pytest.approx([1] * 4, abs=0.01) and max(exact["colour_distance"]) < 0.01


def test_noise_is_far_from_the_truth_although_it_is_consistent(found):
    noise = found["noise"]
    assert noise["frechet"] > 3 * noise["frechet_true"] and noise["frechet_other"] > 3 * noise["frechet_true"]
    assert min(noise["gradient_ratio"]) > 2 and min(noise["colour_distance"]) > 0.5
    assert min(measure_loop(Noise(SIZE), SEEDS[:2], "turn 180", tour=0)["own_db"]) > 60


def test_the_floor_does_not_depend_on_the_generator(found):
    assert found["exact"]["frechet_true"] == found["noise"]["frechet_true"] > 0


def test_only_unseen_frames_are_compared(found):
    features = torch.tensor(found["exact"]["_generated"])
    assert features.shape == (4, 12 - 5, DIM)
    assert len(found["exact"]["_sheet"]) == 8 and len(found["exact"]["_sheet"][0]) == 13


def test_the_interval_narrows_when_scenes_are_alike():
    generator = torch.Generator().manual_seed(0)
    alike = torch.randn(1, 40, 4, generator=generator).expand(8, 40, 4)
    apart = alike + 3 * torch.randn(8, 1, 4, generator=generator)

    def half(generated):
        values = {"_generated": generated.tolist(), "_true": alike.tolist(), "_other": alike.tolist()}
        return combine_new_content(values)["frechet"][1]

    assert half(alike) == pytest.approx(0, abs=1e-6) and half(apart) > 0.5


def test_the_way_ahead_is_a_case_of_its_own():
    assert new_content_cases() == [{"part": "turn"}, {"part": "ahead"}]
    ahead = measure_new_content(Noise(SIZE), SEEDS[:2], "ahead")
    assert torch.tensor(ahead["_true"]).shape == (2, 12, DIM)
    with pytest.raises(ValueError, match=r"part='back' is unknown.*Known: 'ahead', 'turn'"):
        measure_new_content(Noise(SIZE), SEEDS, "back")


# The distance


def test_distance_of_normal_distributions_is_the_known_one():
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(100_000, 2, generator=generator, dtype=torch.float64)
    other = one * torch.tensor([3.0, 1.0]) + torch.tensor([0.0, 2.0])
    # |m1 - m2|^2 = 4, and (3 - 1)^2 for the deviations.
    assert frechet_distance(one, other) == pytest.approx(8, rel=0.02)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-6)


class Same(torch.nn.Module):
    """Features that are features already."""

    num_features = 6

    def forward(self, features):
        return features


def test_distance_agrees_with_torchmetrics():
    generator = torch.Generator().manual_seed(1)
    mixing = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    one = torch.randn(50, 6, generator=generator, dtype=torch.float64) @ mixing
    other = torch.rand(40, 6, generator=generator, dtype=torch.float64)
    metric = FrechetInceptionDistance(feature=Same()).set_dtype(torch.float64)
    metric.update(one, real=True)
    metric.update(other, real=False)
    assert frechet_distance(one, other) == pytest.approx(metric.compute().item(), rel=1e-6)


def test_one_frame_has_no_distribution():
    with pytest.raises(ValueError, match="features of 1 and 5 frames; expected at least 2 in each set"):
        frechet_distance(torch.zeros(1, 3), torch.zeros(5, 3))


# The network


def test_the_packaged_network_names_styles_of_scenes_it_was_not_trained_on():
    frames, styles, layouts = labelled_frames(split_seeds("test", 16), 4)
    network = load_features()
    style, layout = network.classify(network(frames))
    assert (style.argmax(1) == styles).float().mean() > 0.85
    assert (layout.argmax(1) == layouts).float().mean() > 0.85
    assert layout.shape[1] == len(LAYOUTS) and style.shape[1] <= len(STYLES)
    features = features_of(network, frames)
    assert features.mean(0).abs().max() < 1 and 0.5 < features.std(0).mean() < 2
    assert WEIGHTS.stat().st_size < 1e6


def test_training_is_a_function_of_its_seed_and_writes_what_is_loaded(tmp_path):
    def trained(name, **options):
        path = tmp_path / "new" / name
        results = train_features(path, scenes=4, views=3, epochs=2, validation_scenes=2, quiet=True, **options)
        return results, load_features(path).state_dict()

    (results, one), (_, again), (_, other) = trained("a"), trained("b"), trained("c", seed=1)
    assert results["frames"] == 12 and results["steps"] == 2 and 0 <= results["style_accuracy"] <= 1
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["project.weight"], other["project.weight"])
    assert json.dumps(results)


def test_labels_are_those_of_the_scenes():
    _, styles, layouts = labelled_frames(split_seeds("validation", 3), 2)
    names = [list(STYLES)[style] for style in styles]
    assert [STYLES[name].layout for name in names] == [LAYOUTS[layout] for layout in layouts]
    assert names[0] == names[1] and len(names) == 6


@pytest.mark.parametrize("damage", ["missing", "other", "truncated"])
def test_weights_that_are_none_are_refused(tmp_path, damage):
    path = tmp_path / "some.safetensors"
    if damage == "other":
        save_file({"weight": torch.zeros(2)}, path)
    elif damage == "truncated":
        path.write_bytes(WEIGHTS.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"some\.safetensors holds no weights of FrameFeatures .*train_features"):
        load_features(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scenes": 0}, "scenes=0 is out of range"),
        ({"views": 0}, "views=0 is out of range"),
        ({"epochs": 0}, "epochs=0 is out of range"),
        ({"validation_scenes": 1001}, r"validation_scenes=1001 is out of range; expected an integer in \[1, 1000\]"),
    ],
)
def test_bad_arguments_of_training_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        train_features(tmp_path / "x.safetensors", **options)


def test_features_do_not_depend_on_the_rest_of_the_batch():
    frames = torch.randint(0, 256, (3, 64, 64, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    network = FrameFeatures().eval()
    torch.testing.assert_close(features_of(network, frames)[1:2], features_of(network, frames[1:2]))
