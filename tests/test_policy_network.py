"""Trained networks in files: what is written is read, and nothing else is taken for one."""

import json

import numpy as np
import pytest
import torch
from gymnasium import spaces
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode

from ctxmem_env.policies.from_sb3 import SceneFeatures, encoder_arguments, export_policy
from ctxmem_env.policies.network import (
    NetworkPolicy,
    SceneEncoder,
    _digest,
    load_policy,
    packaged_policies,
    save_policy,
)

ENCODER = {"images": ["rgb", "depth"], "goal_size": 2, "features": 16, "height": 48, "width": 48}


def make(seed=0, **changes):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return NetworkPolicy("point_goal", ENCODER | changes, (8,), seed, {"steps": 5})


def observe(n=5, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "rgb": rng.integers(256, size=(n, 48, 48, 3), dtype=np.uint8),
        "depth": rng.uniform(0.1, 9, (n, 48, 48, 1)).astype(np.float32),
        "goal": rng.uniform(-1, 3, (n, 2)).clip(0).astype(np.float32),
    }


def test_a_policy_that_was_written_acts_as_before(tmp_path):
    policy = make()
    read = load_policy(save_policy(policy, tmp_path / "new" / "p.safetensors"))
    torch.testing.assert_close(read.logits(observe()), policy.logits(observe()), atol=2e-3, rtol=0)
    assert (read.tasks, read.facts, read.observation, read.actions) == (
        ("point_goal",),
        {"steps": 5},
        "rgbd",
        "discrete",
    )
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["p.safetensors"]


def test_worlds_of_a_batch_are_judged_alone():
    policy, observation = make(), observe()
    alone = [policy.logits({name: value[i : i + 1] for name, value in observation.items()}) for i in range(5)]
    torch.testing.assert_close(policy.logits(observation), torch.cat(alone), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("part", ["rgb", "depth", "goal"])
def test_every_part_of_an_observation_counts(part):
    policy, one, other = make(), observe(), observe(seed=1)
    assert not torch.allclose(policy.logits(one), policy.logits(one | {part: other[part]}), atol=1e-4)


def test_a_bearing_has_no_seam():
    encode, images = SceneEncoder(**ENCODER), {"rgb": torch.zeros(2, 3, 48, 48), "depth": torch.ones(2, 48, 48, 1)}
    goal = torch.tensor([[2.0, np.pi], [2.0, -np.pi]])
    features = encode({**images, "goal": goal})
    torch.testing.assert_close(features[0], features[1], atol=1e-5, rtol=0)


def test_drawn_actions_follow_the_seed_and_the_logits():
    one, same, other = make(1), make(1), make(2)
    many = {name: np.repeat(value[:1], 2000, 0) for name, value in observe(1).items()}
    drawn = one.predict(many)[0]
    assert np.array_equal(drawn, same.predict(many)[0]) and not np.array_equal(drawn, other.predict(many)[0])
    shares = np.bincount(drawn, minlength=9) / 2000
    np.testing.assert_allclose(shares, one.logits(many)[0].softmax(0).numpy(), atol=0.05)
    assert (one.predict(many, deterministic=True)[0] == one.logits(many)[0].argmax().item()).all()


def test_a_picture_alone_may_come_without_a_name():
    policy = NetworkPolicy("explore", ENCODER | {"images": ["rgb"], "goal_size": 0}, ())
    assert torch.equal(policy.logits(observe()["rgb"]), policy.logits(observe()))


def test_images_of_another_size_are_refused():
    observation = observe()
    observation["depth"] = observation["depth"].repeat(2, axis=1)
    with pytest.raises(ValueError, match=r"has 'depth' of \(96, 48\) pixels \(height, width\).* made for \(48, 48\)"):
        make().predict(observation)


def write(path, weights, config, **metadata):
    """A file whose checksum is right, whatever it holds."""
    told = json.dumps(config)
    facts = {"format": "ctxmem-policy-1", "policy": told, "sha256": _digest(told, weights)}
    save_file(weights, path, metadata=facts | metadata)


def damage(path, how):
    data, weights = path.read_bytes(), load_file(path)
    config = {"task": "point_goal", "encoder": ENCODER, "hidden": [8], "facts": {}}
    if how == "truncated":
        path.write_bytes(data[:-100])
    elif how == "another format":
        write(path, weights, config, format="ctxmem-policy-9")
    elif how == "no metadata":
        save_file(weights, path)
    elif how == "another shape":
        write(path, weights | {"head.bias": torch.zeros(4)}, config)
    elif how == "unknown argument":
        write(path, weights, config | {"run": "rm"})
    elif how == "unknown image":
        write(path, weights, config | {"encoder": ENCODER | {"images": ["rgbd"]}})
    elif how == "a flipped bit":
        path.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])


@pytest.mark.parametrize(
    "how",
    [
        "truncated",
        "another format",
        "no metadata",
        "another shape",
        "unknown argument",
        "unknown image",
        "a flipped bit",
    ],
)
def test_a_file_that_holds_no_policy_is_refused(tmp_path, how):
    path = save_policy(make(), tmp_path / "p.safetensors")
    damage(path, how)
    with pytest.raises(ValueError, match=r"p\.safetensors' holds no policy of this package: "):
        load_policy(path)


class Largest(TorchDispatchMode):
    """Keeps the size in bytes of the largest tensor that is made in memory."""

    size = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and made.device.type == "cpu":
            self.size = max(self.size, made.nbytes)
        return made


@pytest.mark.parametrize(
    ("encoder", "hidden", "reason"),
    [
        ({"features": 10**5}, [8], "size mismatch"),
        ({"height": 1200, "width": 1200}, [8], "size mismatch"),
        ({}, [10**5], "size mismatch"),
        ({}, [1] * 300, "it tells of 300 layers and has 12 arrays"),
    ],
)
def test_sizes_that_a_file_lies_about_allocate_nothing(encoder, hidden, reason, tmp_path):
    path = save_policy(make(), tmp_path / "p.safetensors")
    weights = load_file(path)
    write(path, weights, {"task": "point_goal", "encoder": ENCODER | encoder, "hidden": hidden, "facts": {}})
    with Largest() as largest, pytest.raises(ValueError, match=rf"p\.safetensors' holds no policy (.|\n)*{reason}"):
        load_policy(path)
    assert largest.size <= 4 * max(value.numel() for value in weights.values())


def test_weights_that_are_not_finite_are_refused(tmp_path):
    path = save_policy(make(), tmp_path / "p.safetensors")
    config = {"task": "point_goal", "encoder": ENCODER, "hidden": [8], "facts": {}}
    write(path, load_file(path) | {"head.bias": torch.full((9,), torch.nan)}, config)
    with pytest.raises(ValueError, match="weights that are not finite"):
        load_policy(path)


def test_an_unknown_policy_is_refused():
    with pytest.raises(ValueError, match=r"policy='ppo_point_gaol': there is no file .* packaged are"):
        load_policy("ppo_point_gaol")


def test_packaged_policies_load_and_are_small():
    from ctxmem_env.policies import network

    for name in packaged_policies():
        policy = load_policy(name)
        assert policy.facts["env_id"] == "CtxMemScene-v0" and policy.facts["steps"] > 0
        assert (network._PACKAGED / f"{name}.safetensors").stat().st_size < 1_000_000


@pytest.mark.parametrize(("height", "width"), [(64, 48), (48, 64), (48, 48)])
@pytest.mark.parametrize("name", ["rgb", "depth"])
@pytest.mark.parametrize("first", [False, True])
def test_height_and_width_are_those_of_portrait_and_of_landscape_frames(height, width, name, first):
    channels = {"rgb": 3, "depth": 1}[name]
    shape = (channels, height, width) if first else (height, width, channels)
    arguments = encoder_arguments(spaces.Dict({name: spaces.Box(0, 9, shape)}), [name], 16)
    assert (arguments["height"], arguments["width"]) == (height, width)


def test_ppo_acts_on_portrait_frames():
    import gymnasium as gym
    from stable_baselines3 import PPO

    env = gym.make("CtxMemTrueScene-v0", height=64, width=48, tour=0, observation="rgbd")
    for images in (["depth"], ["rgb", "depth"]):
        features = {"features_extractor_class": SceneFeatures, "features_extractor_kwargs": {"images": images}}
        model = PPO("MultiInputPolicy", env, policy_kwargs=features, device="cpu")
        observation, _ = env.reset(seed=0)
        policy = export_policy(model, "roam")
        assert policy.predict(observation, deterministic=True)[0] == model.predict(observation, deterministic=True)[0]
    env.close()


def test_images_that_an_environment_lacks_are_refused():
    space = spaces.Dict({"rgb": spaces.Box(0, 255, (48, 48, 3), np.uint8), "goal": spaces.Box(0, 9, (2,))})
    with pytest.raises(ValueError, match=r"has no image 'depth'.*observation='rgbd'"):
        encoder_arguments(space, ["depth"], 16)
    with pytest.raises(ValueError, match="has no image 'goal'"):
        encoder_arguments(space, ["goal"], 16)
    for refuse in (SceneEncoder, lambda images: encoder_arguments(space, images, 16)):
        with pytest.raises(ValueError, match="image='colour' is unknown"):
            refuse(["colour"])
    with pytest.raises(ValueError, match="images is empty"):
        SceneEncoder([])


def test_only_a_ppo_of_this_package_is_exported():
    import gymnasium as gym
    from stable_baselines3 import DQN, PPO

    env = gym.make("CtxMemTrueScene-v0", height=48, width=48, tour=0, observation="rgbd")
    for model in (DQN("MultiInputPolicy", env, buffer_size=2), PPO("MultiInputPolicy", env, device="cpu")):
        with pytest.raises(ValueError, match=rf"model is a {type(model).__name__}.*SceneFeatures"):
            export_policy(model, "roam")
    env.close()
