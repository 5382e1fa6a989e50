"""Generators on disk: what is saved comes back, and what is not intact is refused before anything is loaded."""

import copy
import gc
import json
import pickle
import shutil

import gymnasium as gym
import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file, save_file

import ctxmem_env  # noqa: F401  registers the ids
from ctxmem_env.generator import load_generator, store
from ctxmem_env.generator.locate import find_generator, packaged_names
from ctxmem_env.generator.pipeline import SceneGenerator
from ctxmem_env.generator.protocol import Context
from ctxmem_env.generator.store import read_generator, save_generator
from ctxmem_env.generator.transformer import SceneTransformer

WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"
CONFIG = "transformer/config.json"


def tiny(seed=0, **arguments):
    """A network whose weights are exact in half precision, so that saving them loses nothing."""
    size = {"height": 16, "width": 16, "patch_size": 4, "dim": 32, "num_heads": 2, "pixel_dim": 8}
    transformer = SceneTransformer(**{**size, "num_layers": 1, "num_context_layers": 1, **arguments})
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.copy_((0.1 * torch.randn(parameter.shape, generator=rng)).half())
    return SceneGenerator(transformer, default_num_steps=3)


def view(generator):
    rng = torch.Generator().manual_seed(1)
    context = Context(
        torch.randint(0, 256, (1, 2, 16, 16, 3), dtype=torch.uint8, generator=rng),
        1 + torch.rand(1, 2, 16, 16, generator=rng),
        torch.zeros(1, 2, 6),
        torch.ones(1, 2, dtype=torch.bool),
    )
    view = generator.generate(torch.zeros(1, 6), context, torch.tensor([90.0]), 2, [rng])
    return view.frames, view.depth, view.own_weight


@pytest.fixture
def folder(tmp_path):
    return save_generator(tiny(), tmp_path / "model")


def without_checksums(folder):
    """The folder as `save_pretrained` alone would leave it."""
    (folder / "checksums.json").unlink()
    return folder


def test_a_saved_generator_comes_back(folder):
    loaded = read_generator(folder)
    assert loaded.default_num_steps == 3 and (loaded.height, loaded.width) == (16, 16)
    for one, other in zip(view(loaded), view(tiny()), strict=True):
        torch.testing.assert_close(one, other, atol=0, rtol=0)
    assert not any(parameter.requires_grad for parameter in loaded.transformer.parameters())


def test_a_folder_is_loaded_once_until_it_holds_other_weights(folder):
    first = load_generator(str(folder), "cpu")
    assert load_generator(str(folder), "cpu") is first
    save_generator(tiny(seed=1), folder)
    second = load_generator(str(folder), "cpu")
    assert second.weights_sha256 == read_generator(folder).weights_sha256 != first.weights_sha256
    assert load_generator(str(folder), "cpu") is second


def test_an_adapter_is_loaded_again_when_it_is_another_one(tmp_path, monkeypatch):
    (tmp_path / "adapter.json").write_text("one")
    monkeypatch.setattr(store, "_load", lambda *_: tiny())
    monkeypatch.setattr(store, "weights_checksum", lambda model: (tmp_path / "adapter.json").read_text())
    model = f"wan:{tmp_path}"
    first = load_generator(model, "cpu")
    assert load_generator(model, "cpu") is first
    (tmp_path / "adapter.json").write_text("other")
    assert load_generator(model, "cpu") is not first


def test_a_copy_of_an_environment_keeps_its_weights_when_the_folder_has_others(folder):
    env = gym.make("CtxMemScene-v0", model=str(folder), tour=1, collisions=False)
    env.reset(seed=0)
    pickled = pickle.dumps(env)
    save_generator(tiny(seed=1), folder)
    for other in (copy.deepcopy(env), pickle.loads(pickled)):
        assert other.unwrapped.world.generator is env.unwrapped.world.generator
    own = copy.deepcopy(env)
    np.testing.assert_array_equal(own.step(1)[0], env.step(1)[0])
    del env, own, other
    store._loaded.clear()
    gc.collect()
    with pytest.raises(ValueError, match=r"has other weights by now .* than those that are wanted .* make the env"):
        pickle.loads(pickled)


def test_weights_are_kept_in_half_precision_and_used_in_single(folder):
    assert {tensor.dtype for tensor in load_file(folder / WEIGHTS).values()} == {torch.float16}
    assert {tensor.dtype for tensor in read_generator(folder).transformer.state_dict().values()} == {torch.float32}


def test_saving_leaves_the_generator_in_use_as_it_is(tmp_path):
    generator = tiny()
    save_generator(generator, tmp_path / "model")
    assert {parameter.dtype for parameter in generator.transformer.parameters()} == {torch.float32}


def test_a_generator_is_a_diffusers_pipeline(tmp_path):
    generator = tiny()
    generator.save_pretrained(tmp_path / "pipeline")
    for loaded in (
        SceneGenerator.from_pretrained(tmp_path / "pipeline"),
        read_generator(tmp_path / "pipeline"),  # without checksums, as any folder of diffusers is
    ):
        assert isinstance(loaded, DiffusionPipeline) and loaded.default_num_steps == 3
        weights = generator.transformer.state_dict()
        assert all(torch.equal(value, weights[name]) for name, value in loaded.transformer.state_dict().items())
        for one, other in zip(view(loaded), view(generator), strict=True):
            torch.testing.assert_close(one, other)  # where a tensor lies in memory decides how its sums are rounded


def test_a_folder_is_replaced_whole_and_a_model_card_in_it_survives(folder):
    (folder / "README.md").write_text("a model card")
    save_generator(tiny(seed=1), folder)
    assert (folder / "README.md").read_text() == "a model card"
    for one, other in zip(view(read_generator(folder)), view(tiny(seed=1)), strict=True):
        torch.testing.assert_close(one, other, atol=0, rtol=0)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]  # nothing temporary is left


def test_a_generator_that_cannot_be_saved_leaves_the_old_folder(folder):
    broken = tiny(seed=1)
    broken.transformer.register_parameter("unknown", torch.nn.Parameter(torch.zeros(1)))
    with pytest.raises(RuntimeError, match="unknown"):
        save_generator(broken, folder)
    read_generator(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_save_that_fails_at_the_last_step_puts_the_old_folder_back(folder, monkeypatch):
    (folder / "README.md").write_text("card")
    before = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def fail(*_):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("ctxmem_env.atomic.os.replace", fail)
        with pytest.raises(OSError, match="no space left"):
            save_generator(tiny(seed=1), folder)
    assert before == {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_each_model_is_loaded_once_for_each_device(folder):
    assert load_generator(str(folder), "cpu") is load_generator(str(folder), "cpu")


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[-100] ^= 0x40
    path.write_bytes(data)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize("damage", [flip_a_byte, cut_short])
@pytest.mark.parametrize("part", [WEIGHTS, CONFIG, "model_index.json"])
def test_an_altered_or_truncated_file_is_refused(folder, part, damage):
    damage(folder / part)
    with pytest.raises(ValueError, match=rf"model='.*model': {part} does not match its checksum.*fetch it again"):
        load_generator(str(folder))


@pytest.mark.parametrize("part", [WEIGHTS, CONFIG])
def test_a_missing_file_is_refused(folder, part):
    (folder / part).unlink()
    with pytest.raises(ValueError, match=rf"model='.*' has no {part}; expected a folder that save_pretrained wrote"):
        read_generator(folder)


def test_a_missing_file_that_a_checksum_names_is_refused(folder):
    (folder / "model_index.json").unlink()
    with pytest.raises(ValueError, match=r"model='.*' has no model_index\.json"):
        read_generator(folder)


@pytest.mark.parametrize("part", [WEIGHTS, CONFIG, "model_index.json", "checksums.json"])
def test_a_truncated_file_is_refused_without_checksums_too(folder, part):
    if part != "checksums.json":
        without_checksums(folder)
    path = folder / part
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"model='.*'.* cannot be read .*fetch it again"):
        read_generator(folder)


def test_weights_of_another_shape_are_refused_with_the_first_that_differs(folder, tmp_path):
    wider = save_generator(tiny(pixel_dim=16), tmp_path / "wider")
    shutil.copy(wider / WEIGHTS, without_checksums(folder) / WEIGHTS)
    with pytest.raises(ValueError, match=r"does not fit .*pixel_in\.bias is \(16,\), expected \(8,\)"):
        read_generator(folder)


def test_weights_with_too_few_or_too_many_tensors_are_refused(folder):
    tensors = load_file(without_checksums(folder) / WEIGHTS)
    nowhere = tensors.pop("nowhere")
    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(ValueError, match=r"nowhere is missing, expected \(2, 2, 1, 16\)"):
        read_generator(folder)
    save_file({**tensors, "nowhere": nowhere, "zzz": torch.zeros(3)}, folder / WEIGHTS)
    with pytest.raises(ValueError, match=r"zzz is \(3,\), expected none"):
        read_generator(folder)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(folder, bad):
    tensors = load_file(without_checksums(folder) / WEIGHTS)
    tensors["nowhere"][0, 0] = bad
    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(ValueError, match=r"nowhere holds NaN or infinity; fetch the weights again"):
        read_generator(folder)


def test_a_config_that_no_network_can_have_is_refused(folder):
    values = json.loads((without_checksums(folder) / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**values, "dim": "wide"}))
    with pytest.raises(ValueError, match=r"model='.*'.* cannot be read .*fetch it again"):
        read_generator(folder)


def test_an_unknown_name_is_refused_with_the_known_ones():
    name = packaged_names()[0] if packaged_names() else "nano"
    misspelt = name[:-1] + "_" + name[-1]
    hint = rf".*Did you mean '{name}'\?" if packaged_names() else ""
    with pytest.raises(
        ValueError, match=rf"model='{misspelt}' is unknown\.{hint}.*A folder that save_pretrained wrote"
    ):
        find_generator(misspelt)


def test_a_device_that_is_not_there_is_refused(folder):
    with pytest.raises(ValueError, match=r"device='tpu' is not a torch device; expected 'auto', 'cpu' or 'cuda'"):
        load_generator(str(folder), "tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match=r"device='cuda' is not available here .*use 'auto' or 'cpu'"):
            load_generator(str(folder), "cuda")
