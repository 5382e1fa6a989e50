"""What training with each algorithm of Stable-Baselines3 shares: arguments, worlds, checkpoints, curves."""

import argparse
import dataclasses
import importlib.util
import json
import sys
import time
import zipfile
from pathlib import Path

import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from ctxmem_env.atomic import open_whole
from ctxmem_env.config import load_config
from ctxmem_env.plotting import plot_learning_curve
from ctxmem_env.policies.from_sb3 import SceneFeatures, export_policy
from ctxmem_env.policies.network import save_policy
from ctxmem_env.sb3 import make_sb3_vec_env

CONFIGS = Path(__file__).parent.parent / "configs" / "agents"


@dataclasses.dataclass(frozen=True)
class AgentConfig:
    """A file of configs/agents."""

    algorithm: str = "ppo"
    env: dict = dataclasses.field(default_factory=dict)  # arguments of GenerativeSceneVectorEnv
    num_envs: int = 16
    num_steps: int = 60_000  # of all worlds together
    seed: int = 0
    checkpoint_every: int = 8192  # steps of all worlds together
    features: dict = dataclasses.field(default_factory=dict)  # arguments of SceneFeatures
    net_arch: list = dataclasses.field(default_factory=list)
    arguments: dict = dataclasses.field(default_factory=dict)  # of the algorithm


class Progress(BaseCallback):
    """Checkpoints, written whole or not at all, and a curve of episodes in curve.jsonl.

    Of PPO with discrete actions also the policy alone, as `ctxmem_env.policies.load_policy` reads it.
    """

    def __init__(self, out: Path, every: int, task: str, facts: dict):
        super().__init__()
        self.out, self.every, self.task, self.facts = out, every, task, facts
        self.episodes: list[dict] = []

    def _on_training_start(self) -> None:
        self.began, self.last = time.monotonic() - seconds_so_far(self.out), self.num_timesteps

    def _on_step(self) -> bool:
        ended = [info for info in self.locals["infos"] if "terminal_observation" in info]
        self.episodes += [
            {name: float(info[name]) for name in ("success", "spl", "seen_area") if name in info}
            | {"return": float(info["episode"]["r"])}
            for info in ended
        ]
        if self.num_timesteps - self.last >= self.every:
            self.save()
        return True

    def save(self) -> None:
        """Write a checkpoint now, and a line of what episodes since the last one came to."""
        self.last = self.num_timesteps
        line = {"steps": self.num_timesteps, "seconds": round(time.monotonic() - self.began, 1)}
        if self.episodes:
            names = self.episodes[0]
            line |= {name: sum(one[name] for one in self.episodes) / len(self.episodes) for name in names}
            line["episodes"], self.episodes = len(self.episodes), []
        with open_whole(self.out / f"{self.num_timesteps}.zip") as file:
            self.model.save(file)
        with open(self.out / "curve.jsonl", "a") as curve:
            curve.write(json.dumps(line) + "\n")
        if isinstance(self.model, PPO) and isinstance(self.model.action_space, spaces.Discrete):
            policy = export_policy(self.model, self.task, self.facts | {"steps": self.num_timesteps})
            save_policy(policy, self.out / f"{self.num_timesteps}.safetensors")


def train(algorithm: type[BaseAlgorithm], name: str, policy: str, description: str) -> None:
    """Train with an algorithm as the command line says; the last line printed is JSON."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    tasks = sorted(path.stem.removeprefix(f"{name}_") for path in CONFIGS.glob(f"{name}_*.yaml"))
    default = "point_goal" if "point_goal" in tasks else tasks[0]
    parser.add_argument("--task", choices=tasks, default=default, help="one with a file in configs/agents")
    parser.add_argument("--config", type=Path, help="another file in place of that")
    parser.add_argument("--steps", type=int, help="of all worlds together, in place of those in the configuration")
    parser.add_argument("--num-envs", type=int, help="worlds side by side, in place of those in the configuration")
    parser.add_argument("--out", type=Path, help="folder of checkpoints and curves; by default runs/ALGORITHM_TASK")
    parser.add_argument("--env-id", default="CtxMemScene-v0", help="or CtxMemTrueScene-v0")
    parser.add_argument("--model", default="nano", help="the generator: a packaged one or a folder")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    try:
        print(json.dumps(run(algorithm, name, policy, args)))
    except (ValueError, OSError) as error:
        sys.exit(f"{parser.prog}: error: {error}")


def run(algorithm: type[BaseAlgorithm], name: str, policy: str, args: argparse.Namespace) -> dict:
    """One run, from its last checkpoint if there is one. Interrupted, it writes one more."""
    config = load_config(AgentConfig, args.config or CONFIGS / f"{name}_{args.task}.yaml")
    if config.algorithm != name:
        raise ValueError(f"config: algorithm is {config.algorithm!r}; run agents/{config.algorithm}.py.")
    task = config.env.get("task", "roam")
    out = args.out or Path("runs") / f"{name}_{task}"
    worlds = {"render_mode": None} | config.env
    if args.env_id == "CtxMemScene-v0":
        worlds["model"] = args.model
    env = make_sb3_vec_env(args.env_id, args.num_envs or config.num_envs, config.seed, env_kwargs=worlds)
    try:
        model = open_model(algorithm, policy, config, env, out)
        facts = {"algorithm": name, "env_id": args.env_id, "env": config.env}
        interrupted = learn(
            model, args.steps or config.num_steps, Progress(out, config.checkpoint_every, task, facts), args.quiet
        )
    finally:
        env.close()
    results = {"algorithm": name, "task": task, "steps": model.num_timesteps, "out": str(out)}
    saved = out / f"{model.num_timesteps}.safetensors"
    if saved.is_file():
        results["policy"] = str(saved)
    if importlib.util.find_spec("matplotlib") and '"episodes"' in (out / "curve.jsonl").read_text():
        plot_learning_curve(out / "curve.jsonl", out / "curve.png")
        results["picture"] = str(out / "curve.png")
    return results | {"interrupted": interrupted, "seconds": seconds_so_far(out)}


def open_model(
    algorithm: type[BaseAlgorithm], policy: str, config: AgentConfig, env: VecEnv, out: Path
) -> BaseAlgorithm:
    """A new model, or that of the last checkpoint in `out`; ValueError where that is damaged or does not fit."""
    out.mkdir(parents=True, exist_ok=True)
    done = sorted((int(path.stem), path) for path in out.glob("[0-9]*.zip"))
    if not done:
        own = {"features_extractor_class": SceneFeatures, "features_extractor_kwargs": config.features}
        own |= {"net_arch": config.net_arch} | config.arguments.get("policy_kwargs", {})
        arguments = config.arguments | {"policy_kwargs": own, "tensorboard_log": str(out), "seed": config.seed}
        return algorithm(policy, env, device="cpu", **arguments)
    path = done[-1][1]
    if not zipfile.is_zipfile(path):
        raise ValueError(f"checkpoint {path} is damaged; remove it to go on from the one before.")
    try:
        model = algorithm.load(path, env=env, device="cpu")
    except ValueError as error:  # of spaces that differ
        raise ValueError(f"checkpoint {path} does not fit: {error}; choose another --out.") from error
    # With the seed it began with a run that goes on would see the episodes of its beginning once more.
    model.set_random_seed(config.seed + model.num_timesteps)
    return model


def learn(model: BaseAlgorithm, steps: int, progress: Progress, quiet: bool) -> bool:
    """Train until `steps` have been made in all; whether the user interrupted it."""
    left, interrupted = steps - model.num_timesteps, False
    if left <= 0:
        return False
    try:
        model.learn(left, progress, reset_num_timesteps=model.num_timesteps == 0, progress_bar=not quiet)
    except KeyboardInterrupt:
        interrupted = True
    if model.num_timesteps > progress.last:
        progress.save()
    return interrupted


def seconds_so_far(out: Path) -> float:
    """Seconds of training that the curve tells of."""
    curve = out / "curve.jsonl"
    lines = curve.read_text().splitlines() if curve.is_file() else []
    return json.loads(lines[-1])["seconds"] if lines else 0.0
