"""Context-as-Memory on Wan, at a tiny size with random weights."""

import json
import shutil

import gymnasium as gym
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from helpers import FORWARD, TURN_LEFT
from safetensors.torch import load_file, save_file
from wan_folders import SIZE, TRANSFORMER, VAE, tiny_base

from ctxmem_env.generator import Traits, load_generator
from ctxmem_env.generator.locate import find_generator, read_traits, weights_checksum
from ctxmem_env.generator.wan import store
from ctxmem_env.generator.wan.folders import read_base
from ctxmem_env.generator.wan.options import WanOptions
from ctxmem_env.generator.wan.store import add_lora, is_adapter, load_wan, save_adapter
from ctxmem_env.generator.wan.transformer import ContextTransformer, camera_numbers
from ctxmem_env.testing import check_generator

LORA = {"rank": 2, "alpha": 4}
CPU = torch.device("cpu")


def adapt(folder, base, options=(), lora=LORA, trained="adapter", scale=0.05):
    """An adapter with random numbers on a base."""
    transformer = ContextTransformer(WanTransformer3DModel.from_pretrained(base / "transformer"))
    if lora:
        add_lora(transformer, **lora)
    rng = torch.Generator().manual_seed(1)
    tensors = {
        name: value + scale * torch.randn(value.shape, generator=rng)
        for name, value in transformer.state_dict().items()
        if trained == "all" or is_adapter(name)
    }
    options = WanOptions(**SIZE | dict(options))
    return save_adapter(folder, tensors, str(base), read_base(base).architecture, options, lora, trained)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("wan") / "base")


@pytest.fixture(scope="module")
def adapter(base):
    return adapt(base.parent / "adapter", base)


@pytest.fixture(scope="module")
def generator(adapter):
    return load_generator(f"wan:{adapter}", "cpu")


def network(base):
    return ContextTransformer(WanTransformer3DModel.from_pretrained(base / "transformer")).eval().requires_grad_(False)


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_a_base_starts_unchanged_whatever_the_cameras(base):
    plain = WanTransformer3DModel.from_pretrained(base / "transformer").eval()
    latents, text, time = drawn(2, 4, 3, 4, 6), drawn(2, 7, 16, seed=1), torch.tensor([0.3, 0.9])
    with torch.no_grad():
        expected = plain(latents, 1000 * time, text, return_dict=False)[0]
    found = network(base)(latents, time, text, drawn(2, 3, 12), latents[:, :, :0])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_cameras_and_context_play_their_part_and_empty_slots_do_not(base):
    model = network(base)
    noisy, text, context = drawn(1, 4, 2, 4, 6), drawn(1, 7, 16, seed=1), drawn(1, 4, 3, 4, 6, seed=2)
    cameras, time = drawn(1, 5, 12), torch.tensor([0.5])
    without = model(noisy, time, text, cameras[:, :2], context[:, :, :0])
    beside = model(noisy, time, text, cameras, context)
    assert (beside - without).abs().max() > 1e-3
    torch.testing.assert_close(model(noisy, time, text, cameras, context, torch.zeros(1, 3, dtype=torch.bool)), without)
    mask = torch.tensor([[True, False, True]])
    other = context.clone()
    other[:, :, 1] = 9
    torch.testing.assert_close(*(model(noisy, time, text, cameras, c, mask) for c in (context, other)))
    for block in model.base.blocks:
        block.camera.weight.data.normal_(generator=torch.Generator().manual_seed(0))
    assert (model(noisy, time, text, cameras, context) - beside).abs().max() > 1e-3
    moved = torch.cat([cameras[:, :2], cameras[:, 2:] + 1], 1)  # of the context alone
    assert (model(noisy, time, text, moved, context) - model(noisy, time, text, cameras, context)).abs().max() > 1e-4


def test_context_is_clean_and_stands_behind_the_frames_that_are_painted(base, monkeypatch):
    model, seen = network(base), {}
    embed, rope = model.base.condition_embedder.forward, model.base.rope.forward
    monkeypatch.setattr(
        model.base.condition_embedder, "forward", lambda t, *a, **k: (seen.update(times=t), embed(t, *a, **k))[1]
    )
    monkeypatch.setattr(model.base.rope, "forward", lambda x: (seen.update(latents=x), rope(x))[1])
    noisy, context = drawn(1, 4, 2, 4, 6), drawn(1, 4, 3, 4, 6, seed=2)
    model(noisy, torch.tensor([0.5]), drawn(1, 7, 16), drawn(1, 5, 12), context)
    assert seen["times"].tolist() == [500, 500, 0, 0, 0]
    assert torch.equal(seen["latents"], torch.cat([noisy, context], 2))


def test_cameras_do_not_depend_on_where_the_world_has_its_origin():
    way, context = drawn(2, 3, 6), drawn(2, 4, 6, seed=1)
    turned, angle = [], torch.tensor(0.7)
    for poses in (way, context):
        x, y = poses[..., 0], poses[..., 1]
        moved = poses.clone()
        moved[..., 0], moved[..., 1] = x * angle.cos() - y * angle.sin() + 5, x * angle.sin() + y * angle.cos() - 2
        moved[..., 2], moved[..., 3] = poses[..., 2] + 1, poses[..., 3] + angle
        turned.append(moved)
    numbers = camera_numbers(way, context)
    assert numbers.shape == (2, 7, 12)
    torch.testing.assert_close(camera_numbers(*turned), numbers, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(numbers[:, 0].view(2, 3, 4), torch.eye(4)[:3].expand(2, 3, 4), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [{}, {"scheduler": "unipc", "default_num_steps": 3}, {"frames_per_step": 1, "guidance_scale": 1.0}],
    ids=["euler", "unipc", "one frame"],
)
def test_it_conforms(base, tmp_path, options):
    check_generator(load_wan(f"wan:{adapt(tmp_path / 'adapter', base, options)}", CPU))


def test_clips_have_the_length_that_they_are_decoded_to(generator):
    clips = torch.randint(256, (2, 9, 32, 48, 3), dtype=torch.uint8)
    latents = generator.to_latents(clips)
    assert latents.shape == (2, 4, 3, 4, 6)
    assert generator.to_frames(latents).shape == clips.shape


def test_latents_are_scaled_as_wan_scales_them_and_back(generator):
    clips = torch.randint(256, (1, 5, 32, 48, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        raw = generator.vae.encode(clips.movedim(-1, 1) / 127.5 - 1).latent_dist.mode()
        pixels = generator.vae.decode(raw).sample
    mean, std = (torch.tensor(VAE[name]).view(4, 1, 1, 1) for name in ("latents_mean", "latents_std"))
    latents = generator.to_latents(clips)
    torch.testing.assert_close(latents, (raw - mean) / std, rtol=1e-4, atol=1e-4)
    frames = ((pixels + 1) * 127.5).movedim(1, -1)
    torch.testing.assert_close(generator.to_frames(latents).float(), frames, rtol=0, atol=0.6)


def test_what_is_known_before_it_is_loaded(adapter, base, tmp_path):
    assert read_traits(f"wan:{adapter}") == Traits(32, 48, False, True, 5)
    assert find_generator(f"wan:{adapter}") == adapter and find_generator(f"wan:{base}") == base
    assert weights_checksum(f"wan:{adapter}") and weights_checksum(f"wan:{base}") is None
    assert read_traits(f"wan:{base}") == Traits(352, 640, False, True, 77)
    silent = tiny_base(tmp_path / "silent", text=False)
    assert read_traits(f"wan:{adapt(tmp_path / 'adapter', silent)}") == Traits(32, 48, False, False, 5)


def test_guidance_leads_from_no_text_to_the_prompt(base, tmp_path, monkeypatch):
    calls = []

    def counted(model):
        forward = model.transformer.forward
        monkeypatch.setattr(model.transformer, "forward", lambda *a: (calls.append(a[2]), forward(*a))[1])
        return model

    frames = {}
    for scale in (1.0, 4.0):
        model = counted(load_wan(f"wan:{adapt(tmp_path / str(scale), base, {'guidance_scale': scale})}", CPU))
        calls.clear()
        frames[scale] = model._sample(drawn(1, 4, 2, 4, 6), (drawn(1, 2, 12), drawn(1, 4, 0, 4, 6), None), ("snow",), 2)
        assert len(calls) == (2 if scale == 1 else 4)
    assert torch.equal(calls[0], model.prompts(("snow",))) and torch.equal(calls[1], model.prompts(("",)))
    assert (frames[1.0] - frames[4.0]).abs().max() > 1e-4


def test_a_prompt_is_encoded_once(base):
    from ctxmem_env.generator.wan.text import PromptEncoder

    encoder = PromptEncoder(base, 16, CPU)
    first = encoder(["snow falls", "a room"])
    assert first.shape == (2, 512, 16) and not torch.equal(first[0], first[1])
    assert bool(first[0, :2].any(-1).all()) and not first[0, 3:].any()  # what no word fills is zero
    encoder._encoder = None
    encoder.folder = base / "nowhere"
    assert torch.equal(encoder([" snow falls ".strip(), "a room"]), first)


def test_prompts_that_are_asked_for_together_are_kept_together(monkeypatch):
    from ctxmem_env.generator.wan import text

    class Counting(text.PromptEncoder):
        def _encode(self, prompt):
            asked.append(prompt)
            return torch.full((1,), float(prompt))

    monkeypatch.setattr(text, "_KEPT", 3)
    encoder, asked = Counting(None, 1, CPU), []
    for prompt in ("0", "1", "2"):
        encoder([prompt])
    assert encoder(["0", "3"]).flatten().tolist() == [0.0, 3.0]  # the oldest that is kept, and a new one
    assert encoder(["2", "3", "0", "5"]).flatten().tolist() == [2.0, 3.0, 0.0, 5.0]  # more than are kept
    assert asked == ["0", "1", "2", "3", "5"]


def make(adapter, **kwargs):
    return gym.make("CtxMemScene-v0", model=f"wan:{adapter}", collisions=False, tour=1, num_context=3, **kwargs)


def test_it_is_a_world_that_remembers_every_frame_and_takes_text(adapter):
    env, other = make(adapter), make(adapter)
    frame, _ = env.reset(seed=0, options={"prompt": "snow"})
    other.reset(seed=0)
    assert frame.shape == (32, 48, 3)
    seen, different = env.step(FORWARD)[0], other.step(FORWARD)[0]
    assert env.unwrapped.world.memory.lengths.tolist() == [2 + 5]
    assert not np.array_equal(seen, different)
    other.reset(seed=0)
    other.unwrapped.set_prompt("snow")
    np.testing.assert_array_equal(other.step(FORWARD)[0], seen)
    _, _, _, _, info = env.step(TURN_LEFT)
    assert info["retrieved"][0] == 6  # the newest of the frames that the last step painted


def test_many_worlds_are_as_one_by_one(adapter):
    envs = gym.make_vec("CtxMemScene-v0", num_envs=2, model=f"wan:{adapter}", collisions=False, tour=1, num_context=3)
    envs.reset(seed=0)
    frames = [envs.step(np.array([FORWARD, TURN_LEFT]))[0] for _ in range(2)]
    for world, action in enumerate((FORWARD, TURN_LEFT)):
        env = make(adapter)
        env.reset(seed=world)
        for batch in frames:
            alone = env.step(action)[0].astype(int)
            assert np.abs(alone - batch[world]).max() <= 2


def test_it_is_filmed_with_a_prompt_and_its_steps_are_timed(run, adapter, tmp_path, short_bench):
    with pytest.warns(UserWarning, match="nothing stops the camera"):
        results, _ = run(
            *("rollout", "--model", f"wan:{adapter}", "--prompt", "snow", "--steps", "2", "--num-context", "2"),
            *("--tour", "1", "--out", tmp_path / "film.gif"),
        )
    assert results["steps_per_second"] > 0
    measure = ("--histories", "4", "--contexts", "2", "--num-context", "2", "--repeats", "1", "--steps", "1")
    results, _ = run("bench", "step", "--model", f"wan:{adapter}", *measure)
    assert results["frames_per_step"] == 5 and results["histories"][0]["collision_ms"] == 0


def test_no_depth_means_no_collisions_and_no_depth_in_sight(adapter):
    with pytest.warns(UserWarning, match="predicts no depth, so nothing stops the camera"):
        gym.make("CtxMemScene-v0", model=f"wan:{adapter}")
    with pytest.raises(ValueError, match=r"observation='rgbd', but model='wan:.*' predicts no depth"):
        make(adapter, observation="rgbd")


def test_without_a_text_encoder_a_prompt_is_refused(tmp_path):
    silent = adapt(tmp_path / "adapter", tiny_base(tmp_path / "base", text=False))
    env = make(silent).unwrapped
    with pytest.raises(ValueError, match=r"options\['prompt'\]='snow' was given, but model='wan:.*' takes no text"):
        env.reset(options={"prompt": "snow"})
    env.reset(seed=0)
    assert env.step(FORWARD)[0].any()


def test_everything_can_be_trained_and_is_then_the_adapters(base, tmp_path):
    folder = adapt(tmp_path / "all", base, lora=None, trained="all")
    loaded = load_wan(f"wan:{folder}", CPU).transformer.state_dict()
    for name, value in load_file(folder / "adapter.safetensors").items():
        assert torch.equal(loaded[name], value), name


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def rewrite(folder, change):
    """Other tensors under a checksum that fits."""
    import hashlib

    tensors = load_file(folder / "adapter.safetensors")
    change(tensors)
    save_file(tensors, folder / "adapter.safetensors")
    sha256 = hashlib.sha256((folder / "adapter.safetensors").read_bytes()).hexdigest()
    edit(folder / "adapter.json", sha256=sha256)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


CAMERA = "base.blocks.0.camera.weight"
BROKEN = {
    "has an adapter.safetensors that does not match its checksum": lambda a, b: cut(a / "adapter.safetensors"),
    "has no adapter.safetensors": lambda a, b: (a / "adapter.safetensors").unlink(),
    "has adapter.json, which cannot be read": lambda a, b: (a / "adapter.json").write_text("{"),
    "has an adapter.json of format 'other'": lambda a, b: edit(a / "adapter.json", format="other"),
    "has options=None in adapter.json; expected a dict": lambda a, b: edit(a / "adapter.json", options=None),
    "has trained='half' and lora=": lambda a, b: edit(a / "adapter.json", trained="half"),
    r"adapter.json: option='heigth' is unknown. Did you mean 'height'": lambda a, b: edit(
        a / "adapter.json", options={"heigth": 32}
    ),
    "adapter.json: frames_per_step=6; expected 1, 5, 9": lambda a, b: edit(
        a / "adapter.json", options={"frames_per_step": 6}
    ),
    "adapter.json: width=40; expected a multiple of 16": lambda a, b: edit(a / "adapter.json", options={"width": 40}),
    rf"has {CAMERA} of shape none, expected \(24, 12\)": lambda a, b: rewrite(a, lambda t: t.pop(CAMERA)),
    rf"has {CAMERA} of shape \(24, 7\), expected \(24, 12\)": lambda a, b: rewrite(
        a, lambda t: t.update({CAMERA: torch.zeros(24, 7)})
    ),
    rf"has {CAMERA} with NaN or infinity": lambda a, b: rewrite(a, lambda t: t[CAMERA].fill_(torch.nan)),
    "has base.surprise of shape": lambda a, b: rewrite(a, lambda t: t.update({"base.surprise": torch.zeros(1)})),
    "its base '.*nowhere' is no folder": lambda a, b: edit(a / "adapter.json", base=str(b / "nowhere")),
    "was made for a base with num_layers=3, and '.*' has 2": lambda a, b: edit(
        a / "adapter.json",
        architecture={**json.loads((a / "adapter.json").read_text())["architecture"], "num_layers": 3},
    ),
    "has a transformer of class 'UNet'; expected 'WanTransformer3DModel'": lambda a, b: edit(
        b / "transformer" / "config.json", _class_name="UNet"
    ),
    "is conditioned on images; expected a text-to-video": lambda a, b: edit(
        b / "transformer" / "config.json", image_dim=1280
    ),
    "has a transformer of 36 channels and a vae of 4": lambda a, b: edit(
        b / "transformer" / "config.json", in_channels=36
    ),
    "has a transformer with patch_size=": lambda a, b: edit(b / "transformer" / "config.json", patch_size=[1, 1, 1]),
    r"has a transformer with num_layers=1000000000; expected an integer in \[1, 256\]": lambda a, b: edit(
        b / "transformer" / "config.json", num_layers=10**9
    ),
    r"has a vae whose .* is \(4,\), and by its config.json \(8,\)": lambda a, b: edit(
        b / "vae" / "config.json", base_dim=8
    ),
    "has vae/config.json, of which no network can be made": lambda a, b: edit(
        b / "vae" / "config.json", dim_mult=[1, 1, 1, 1, 1]
    ),
    "has no text_encoder/model.safetensors; weights are read from safetensors alone": lambda a, b: (
        b / "text_encoder" / "model.safetensors"
    ).unlink(),
    "has no vae/config.json": lambda a, b: (b / "vae" / "config.json").unlink(),
    "has no transformer/diffusion_pytorch_model.safetensors; weights are read from safetensors alone": lambda a, b: (
        b / "transformer" / "diffusion_pytorch_model.safetensors"
    ).rename(b / "transformer" / "diffusion_pytorch_model.bin"),
    "has a diffusion_pytorch_model.safetensors that is truncated or altered": lambda a, b: cut(
        b / "vae" / "diffusion_pytorch_model.safetensors"
    ),
}


@pytest.mark.parametrize("message", BROKEN)
def test_what_is_broken_is_refused_before_anything_is_loaded(message, base, adapter, tmp_path, monkeypatch):
    shutil.copytree(base, tmp_path / "base")
    shutil.copytree(adapter, tmp_path / "adapter")
    edit(tmp_path / "adapter" / "adapter.json", base=str(tmp_path / "base"))
    BROKEN[message](tmp_path / "adapter", tmp_path / "base")
    loaded = []
    for kind in (WanTransformer3DModel, AutoencoderKLWan):
        monkeypatch.setattr(kind, "from_pretrained", lambda *a, **k: loaded.append(a))
    with pytest.raises(ValueError, match=message):
        load_wan(f"wan:{tmp_path / 'adapter'}", CPU)
    assert not loaded


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (3, r"whose blocks\.2\..* is missing, and by its config.json \(24,\): the two are not of one model"),
        (1, r"whose blocks\.1\..* is \(24,\), and by its config.json none: the two are not of one model"),
    ],
)
def test_weights_of_another_model_than_the_config_tells_are_refused(base, tmp_path, layers, message):
    shutil.copytree(base, tmp_path / "base")
    edit(tmp_path / "base" / "transformer" / "config.json", num_layers=layers)
    with pytest.raises(ValueError, match=message):
        load_wan(f"wan:{tmp_path / 'base'}", CPU)


def test_a_base_of_another_shape_is_refused(tmp_path, adapter):
    deeper = tiny_base(tmp_path / "deeper", text=False, num_layers=3)
    shutil.copytree(adapter, tmp_path / "adapter")
    edit(tmp_path / "adapter" / "adapter.json", base=str(deeper))
    with pytest.raises(ValueError, match=r"was made for a base with num_layers=2, and '.*deeper' has 3"):
        gym.make("CtxMemScene-v0", model=f"wan:{tmp_path / 'adapter'}")


def test_a_name_that_leads_nowhere_is_told():
    with pytest.raises(
        ValueError, match=r"model='wan:nowhere' is no folder; expected one that holds a base or an adapter"
    ):
        read_traits("wan:nowhere")


def test_the_networks_shapes_at_full_size():
    """Wan2.1-T2V-1.3B at the paper's size, on a device without values: 640 x 352, 77 frames, 20 context frames."""
    with torch.device("meta"):
        plain = WanTransformer3DModel(num_attention_heads=12, ffn_dim=8960, num_layers=30)
        count = sum(p.numel() for p in plain.parameters())
        model = ContextTransformer(plain)
        o = WanOptions()
        latents = torch.zeros(1, 16, o.latents_per_step, o.height // 8, o.width // 8)
        context, cameras = torch.zeros(1, 16, 20, 44, 80), torch.zeros(1, 40, 12)
        with torch.no_grad():
            out = model(latents, torch.ones(1), torch.zeros(1, 512, 4096), cameras, context)
    assert o.latents_per_step == 20 and out.shape == latents.shape == (1, 16, 20, 44, 80)
    assert 1.3e9 < count < 1.5e9
    assert sum(p.numel() for p in model.parameters()) - count == 30 * (12 + 1) * 1536


def test_a_tiny_base_is_made_the_same_twice(tmp_path):
    one, two, other = (
        tiny_base(tmp_path / name, text=False, seed=seed) for name, seed in zip("abc", (0, 0, 1), strict=True)
    )
    tensors = [load_file(path / "transformer" / "diffusion_pytorch_model.safetensors") for path in (one, two, other)]
    same = [all(torch.equal(tensors[0][name], value) for name, value in each.items()) for each in tensors]
    assert same == [True, True, False]
    assert store.read_base(one).architecture["num_layers"] == TRANSFORMER["num_layers"]
