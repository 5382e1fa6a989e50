"""Training by several processes: together they do what one process does, and none of them can spoil a run."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
import time

import pytest
import torch
import yaml
from test_training import CONFIG, SIZE, some_batches

from ctxmem_env.generator.pipeline import SceneGenerator
from ctxmem_env.generator.store import save_generator
from ctxmem_env.generator.transformer import SceneTransformer
from ctxmem_env.training import ranks
from ctxmem_env.training.checkpoint import load_checkpoint
from ctxmem_env.training.data import SceneBatches
from ctxmem_env.training.train import repaint_context, train

DATA = dataclasses.replace(CONFIG.data, scenes_per_batch=8, num_context=8, newest_only=0.25, small_steps=0.5)
# Every part of a step from the first one on, and gradients so large that they are clipped.
HARD = dataclasses.replace(
    CONFIG,
    num_steps=1,
    warmup_steps=1,
    self_context=1.0,
    self_context_from=0,
    adversarial_from=0,
    adversarial_weight=1000.0,
    texture_weight=100.0,
    own_path=0.5,
    depth_weight=20.0,
    data=DATA,
)
PARTS = "colour", "own", "depth", "texture"
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def command(config, folder):
    """The arguments of `python` that train `config` in `folder`."""
    folder.mkdir(exist_ok=True)
    path = folder.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(dataclasses.asdict(config)))
    return ("-m", "ctxmem_env", "train", str(path), "--out", str(folder), "--quiet")


def launch(launcher, config, folder):
    """What a launcher that starts two ranks prints, which are the results of the first."""
    done = subprocess.run([*launcher, *command(config, folder)], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    return json.loads(line)


def start(rank, config, folder, port):
    """One of two ranks, told who it is by the environment alone."""
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    environment = os.environ | {name: str(value) for name, value in told.items()}
    return subprocess.Popen(
        [sys.executable, *command(config, folder)], env=environment, stderr=subprocess.PIPE, text=True
    )


def start_both(config, folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [start(rank, config, folder, port) for rank in (0, 1)]


def tensors_of(folder):
    return load_checkpoint(folder / "latest.safetensors")[0]


def losses_of(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {(line["step"], name): line[name] for line in lines if "norm" in line for name in PARTS if name in line}


def test_the_scenes_of_all_ranks_are_those_of_the_batch():
    whole = some_batches(scenes_per_batch=6, outside=0.5)
    parts = [some_batches(scenes_per_batch=6, outside=0.5) for _ in range(3)]
    for number in range(2):
        batch = whole[number]
        for rank, part in enumerate(parts):
            part.mine = slice(rank, None, 3)
            found = part[number]
            assert found.keys() == batch.keys()
            for name, value in found.items():
                assert torch.equal(value, batch[name][rank::3]), name


def test_scenes_that_ranks_cannot_share_are_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    message = r"scenes_per_batch=2 cannot be shared evenly by 3 ranks; .*change it to a multiple of 3\."
    with pytest.raises(ValueError, match=message):
        train(CONFIG, tmp_path / "run", quiet=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda:0", "device='cuda:0' would be shared by all ranks; use 'cuda'"),
        ("cuda", r"100 ranks or more were started on a machine with \d+ GPUs; expected one for each"),
    ],
)
def test_each_rank_has_its_own_gpu_or_is_refused(monkeypatch, device, message):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "99")
    with pytest.raises(ValueError, match=message), ranks.joined(torch.device(device), scenes=2):
        pass


@pytest.fixture
def fetching(tmp_path):
    """The folder of a generator that would rather fetch than paint, so that contexts are repainted."""
    transformer = SceneTransformer(**CONFIG.model)
    with torch.no_grad():
        transformer.pixel_out.bias[9] = -4.0
    batch = SceneBatches(DATA, HARD.seed, SIZE, SIZE)[0]
    frames = batch["context_frames"].clone()
    repaint_context(transformer, batch, torch.Generator().manual_seed(0))
    assert (batch["context_frames"] != frames).float().mean() > 0.01
    return save_generator(SceneGenerator(transformer), tmp_path / "fetching")


@pytest.mark.slow
def test_two_ranks_find_the_loss_and_the_gradients_of_one(fetching, tmp_path):
    """To 1 in 20,000 of each tensor: what remains is the order of sums. An optimiser's state holds its gradients."""
    config = dataclasses.replace(HARD, init=str(fetching))
    train(config, tmp_path / "one", quiet=True)
    launch(TORCHRUN, config, tmp_path / "two")
    one, two = tensors_of(tmp_path / "one"), tensors_of(tmp_path / "two")
    assert one.keys() == two.keys()
    apart = {name: ((two[name] - value).norm() / value.norm().clamp(min=1e-12)).item() for name, value in one.items()}
    assert {name: share for name, share in apart.items() if name.startswith("optimizer") and share > 5e-5} == {}
    assert losses_of(tmp_path / "two") == pytest.approx(losses_of(tmp_path / "one"), rel=1e-6)
    norms = [json.loads((tmp_path / name / "log.jsonl").read_text().splitlines()[0])["norm"] for name in ("one", "two")]
    assert norms[0] == pytest.approx(norms[1], abs=2e-3) and norms[0] > 1.5  # it is clipped at 1


@pytest.mark.slow
def test_a_run_of_two_ranks_goes_on_with_one(tmp_path):
    """Losses to 1e-3 and weights to 3 % of the way that they went: Muon rounds to bfloat16, and steps add up."""
    config = dataclasses.replace(CONFIG, self_context_from=1, adversarial_from=1, data=DATA, num_steps=12)
    train(config, tmp_path / "one", quiet=True)
    # The same run, cut off: what is left of the rate depends on num_steps, so a folder is put where the sheet belongs.
    config = dataclasses.replace(config, checkpoint_every=8, validate_every=9)
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "sheet_000009.png").mkdir()
    cut = subprocess.run([*TORCHRUN, *command(config, tmp_path / "two")], capture_output=True, text=True, timeout=240)
    assert cut.returncode == 1 and "sheet_000009.png" in cut.stderr
    assert load_checkpoint(tmp_path / "two" / "latest.safetensors")[1]["step"] == 8
    (tmp_path / "two" / "sheet_000009.png").rmdir()
    assert train(config, tmp_path / "two", quiet=True)["steps"] == 12

    assert losses_of(tmp_path / "two") == pytest.approx(losses_of(tmp_path / "one"), rel=1e-3)
    one, two = tensors_of(tmp_path / "one"), tensors_of(tmp_path / "two")
    torch.manual_seed(config.seed)
    first = SceneTransformer(**config.model).state_dict()
    way = torch.cat([(one[f"model.{name}"] - value).flatten() for name, value in first.items()]).norm()
    apart = torch.cat([(two[f"model.{name}"] - one[f"model.{name}"]).flatten() for name in first]).norm()
    assert 0 < apart < 0.03 * way


@pytest.mark.slow
def test_accelerate_launches_ranks_as_torchrun_does(tmp_path):
    # Its --cpu starts one process only. --multi_gpu starts all of them, wherever they compute.
    launcher = ("accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--num_machines=1")
    launcher += ("--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0")
    figures = launch((sys.executable, "-m", *launcher), HARD, tmp_path / "two")
    assert figures["steps"] == 1
    train(HARD, tmp_path / "one", quiet=True)
    assert losses_of(tmp_path / "two") == pytest.approx(losses_of(tmp_path / "one"), rel=1e-6)


@pytest.mark.slow
def test_a_rank_that_is_killed_ends_the_run_and_leaves_a_whole_checkpoint(tmp_path):
    config = dataclasses.replace(HARD, num_steps=100_000, checkpoint_every=1, validate_every=100_000)
    latest = tmp_path / "run" / "latest.safetensors"
    first, second = start_both(config, tmp_path / "run")
    try:
        while not latest.exists() and first.poll() is None:
            time.sleep(0.05)
        second.kill()
        assert first.wait(60) == 1
        assert "peer" in first.stderr.read()
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()
    step = load_checkpoint(latest)[1]["step"]
    assert step >= 1
    figures = train(dataclasses.replace(config, num_steps=step + 1), tmp_path / "run", quiet=True)
    assert figures["steps"] == step + 1


@pytest.mark.slow
def test_every_rank_refuses_a_checkpoint_that_the_first_cannot_read(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "latest.safetensors").write_bytes(b"nothing")
    for process in start_both(HARD, tmp_path / "run"):
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 2
        assert errors.count("ctxmem: error: checkpoint:") == 1 and "Traceback" not in errors
