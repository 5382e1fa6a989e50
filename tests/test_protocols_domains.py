"""Unseen domains: what is measured there of generators whose quality is known."""

import pytest
import torch
from protocol_generators import SIZE, Noise

from ctxmem_env.evaluation.baselines import CopyGenerator
from ctxmem_env.evaluation.domains import DOMAINS, domains_cases, measure_domains
from ctxmem_env.evaluation.protocols import true_walks
from ctxmem_env.scenes import HELD_OUT_STYLES, STYLES, build_scene, stack_scenes
from ctxmem_env.true_scene import TrueSceneGenerator

SEEDS = [2_000_000, 2_000_001]


def exact(style):
    generator = TrueSceneGenerator(SIZE, SIZE)
    for world, seed in enumerate(SEEDS):
        generator.enter(stack_scenes([build_scene(seed, style)]), world, len(SEEDS))
    return generator


def test_cases_are_all_domains_with_depth_and_without():
    cases = domains_cases(tours=(12,))
    assert [case["domain"] for case in cases[::2]] == list(DOMAINS) == ["trained", *HELD_OUT_STYLES, "freedoom"]
    assert [case["depth"] for case in cases[:2]] == ["exact", "estimated"]


def test_a_domain_shows_the_scenes_of_its_style_and_of_training_without_one():
    walks = {style: true_walks(SEEDS, 2, 0, SIZE, SIZE, style) for style in (None, "canyon", "station")}
    own = exact("canyon").generate(walks["canyon"].poses[:, -1], None, torch.full((2,), 90.0), 1, [])
    assert torch.equal(own.frames, walks["canyon"].frames[:, -1])
    assert {list(STYLES)[build_scene(seed).style] for seed in SEEDS}.isdisjoint(HELD_OUT_STYLES)
    assert not torch.equal(walks[None].frames, walks["station"].frames)


def test_a_perfect_generator_is_better_than_copies_by_all_that_they_lack():
    found = measure_domains(exact("canyon"), SEEDS, "canyon", 2, "exact", steps=4)
    for name in ("replay_db", "rollout_db"):
        assert min(found[name]) > 60
    for gain, own, copied in (
        ("gain_db", "replay_db", "copy_db"),
        ("rollout_gain_db", "rollout_db", "rollout_copy_db"),
    ):
        differences = [a - b for a, b in zip(found[own], found[copied], strict=True)]
        assert found[gain] == pytest.approx(differences, abs=1e-3) and min(found[gain]) > 20
    assert min(found["replay_ssim"]) > 0.99 and len(found["_sheet"]) == 4


def test_a_copy_gains_nothing_over_a_copy():
    found = measure_domains(CopyGenerator("best", SIZE, SIZE), SEEDS, "temple", 2, "exact", steps=4)
    assert found["gain_db"] == found["rollout_gain_db"] == [0, 0]


class Asked(Noise):
    """Counts the frames whose depth it was asked to estimate."""

    estimated = 0

    def estimate_depth(self, frames, poses, fov):
        self.estimated += len(frames)
        self.fov = fov
        return super().estimate_depth(frames, poses, fov)


@pytest.mark.parametrize(("depth", "expected"), [("exact", 0), ("estimated", 2 * 2 * 3)])
def test_depth_is_given_or_estimated(depth, expected):
    generator = Asked()
    measure_domains(generator, SEEDS, "harbour", 2, depth, steps=2)
    assert generator.estimated == expected


def test_freedoom_is_one_of_them_and_has_its_own_lens():
    generator = Asked()
    found = measure_domains(generator, SEEDS, "freedoom", 1, "estimated", steps=2)
    assert len(found["copy_db"]) == 2 and max(found["replay_db"]) < min(found["copy_db"])
    assert generator.fov.tolist() == pytest.approx([64.01] * 2, abs=0.01)


def test_without_vizdoom_nothing_is_begun(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="Freedoom needs vizdoom"):
        domains_cases()
    assert domains_cases(("trained",))
