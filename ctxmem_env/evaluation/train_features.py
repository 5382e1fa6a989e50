"""Train the network of `ctxmem_env.evaluation.features` on true frames of the training split.

    python -m ctxmem_env.evaluation.train_features

writes the packaged weights anew, in six minutes on one core, and prints one line of JSON. Tests and evaluation
never train it.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ctxmem_env.camera import DEFAULT_FOV
from ctxmem_env.errors import check_integer
from ctxmem_env.evaluation.features import LAYOUTS, SIZE, WEIGHTS, FrameFeatures
from ctxmem_env.half_file import save_half
from ctxmem_env.scenes import STYLES, build_scene, render, spawn, split_seeds, stack_scenes, tour

_AT_ONCE = 32  # scenes rendered in one call
_BATCH = 64


def labelled_frames(seeds: list[int], views: int, quiet: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """True frames (n views, H, W, 3), and of each the numbers of its style and of its layout (n views,).

    Half of a scene's views are a turn on the spot, the others look around from places nearby.
    """
    frames, styles = [], []
    for first in tqdm(range(0, len(seeds), _AT_ONCE), disable=quiet, desc="true frames", unit="batch"):
        scenes = [build_scene(seed) for seed in seeds[first : first + _AT_ONCE]]
        poses = []
        for scene in scenes:
            rng = np.random.default_rng(int(scene.seed))
            poses.append(tour(scene, views, rng, spawn(scene, rng)))
        frames.append(render(stack_scenes(scenes), torch.stack(poses), DEFAULT_FOV, SIZE, SIZE)[0].flatten(0, 1))
        styles += [int(scene.style) for scene in scenes for _ in range(views)]
    names = list(STYLES)
    layouts = [LAYOUTS.index(STYLES[names[style]].layout) for style in styles]
    return torch.cat(frames), torch.tensor(styles), torch.tensor(layouts)


def train_features(
    out: str | Path = WEIGHTS,
    scenes: int = 2000,
    views: int = 12,
    epochs: int = 8,
    seed: int = 0,
    validation_scenes: int = 128,
    quiet: bool = False,
) -> dict:
    """Train on `views` frames of each of `scenes` training scenes, and write the weights, in half precision.

    Returns the shares of frames of `validation_scenes` scenes whose style and layout are named rightly.
    """
    check_integer("scenes", scenes, 1, len(split_seeds("train")))
    check_integer("validation_scenes", validation_scenes, 1, len(split_seeds("validation")))
    for name, value in (("views", views), ("epochs", epochs)):
        check_integer(name, value, 1)
    generator = torch.Generator().manual_seed(seed)
    network = FrameFeatures()
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter, nonlinearity="relu", generator=generator)
        else:
            torch.nn.init.zeros_(parameter)
    frames, styles, layouts = labelled_frames(split_seeds("train", scenes), views, quiet)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.01)
    steps = epochs * -(-len(frames) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.1)
    with tqdm(total=steps, disable=quiet, desc="features", unit="step") as bar:
        for _ in range(epochs):
            for rows in torch.randperm(len(frames), generator=generator).split(_BATCH):
                style, layout = network.classify(network(frames[rows]))
                loss = F.cross_entropy(style, styles[rows]) + F.cross_entropy(layout, layouts[rows])
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                bar.update()
            bar.set_postfix(loss=f"{loss.item():.3f}")
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        features = torch.cat([network(part) for part in frames.split(256)])
        network.mean.copy_(features.mean(0))
        network.deviation.copy_(features.std(0))
    save_half(network, out)
    return {
        "out": str(out),
        "frames": len(frames),
        "steps": steps,
        **_accuracy(network.eval(), validation_scenes, views),
    }


@torch.no_grad()
def _accuracy(network: FrameFeatures, scenes: int, views: int) -> dict[str, float]:
    frames, styles, layouts = labelled_frames(split_seeds("validation", scenes), views)
    found = [network.classify(network(part)) for part in frames.split(256)]
    style, layout = (torch.cat(part).argmax(1) for part in zip(*found, strict=True))
    return {
        "style_accuracy": round((style == styles).float().mean().item(), 3),
        "layout_accuracy": round((layout == layouts).float().mean().item(), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=WEIGHTS, help="safetensors file")
    parser.add_argument("--scenes", type=int, default=2000, help="training scenes")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(json.dumps(train_features(arguments.out, arguments.scenes, epochs=arguments.epochs)))


if __name__ == "__main__":
    main()
