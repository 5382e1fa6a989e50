"""Any policy in test scenes: a name, a policy that was saved, or a .zip of Stable-Baselines3.

python agents/evaluate.py frontier --task explore --scenes 8
python agents/evaluate.py runs/ppo_point_goal/8192.zip --algo ppo

A .zip holds pickled Python objects, which run when it is opened: open none that you do not trust.
"""

import argparse
import importlib
import json
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch

from ctxmem_env.evaluation.policies import ENV_IDS, evaluate_policy
from ctxmem_env.filming import LAYOUTS, Filmed
from ctxmem_env.policies import Policy, environment_arguments, make_policy
from ctxmem_env.recording import write_video
from ctxmem_env.scenes import SPLITS
from ctxmem_env.tasks import TASKS

ALGORITHMS = {
    "ppo": ("stable_baselines3", "PPO"),
    "dqn": ("stable_baselines3", "DQN"),
    "sac": ("stable_baselines3", "SAC"),
    "recurrent_ppo": ("sb3_contrib", "RecurrentPPO"),
}


def make_parser(description: str, task: str = "point_goal") -> argparse.ArgumentParser:
    """The options that the agents without training share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS, default=task)
    parser.add_argument("--env-id", choices=ENV_IDS, default=ENV_IDS[0])
    parser.add_argument("--model", default="nano", help="the generator: a packaged one or a folder")
    parser.add_argument("--retrieval", default="fov", help="how context is chosen from memory")
    parser.add_argument("--scenes", type=int, default=8, help="scenes, at least 2, with one episode in each")
    parser.add_argument("--split", choices=SPLITS, default="test", help="of the scenes")
    parser.add_argument("--max-episode-steps", type=int, default=200)
    parser.add_argument("--sliding", action="store_true", help="go on along the surface that stops a motion")
    parser.add_argument("--deterministic", action="store_true", help="the likeliest action rather than one drawn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="that torch may use")
    parser.add_argument("--video", help="an .mp4 or .gif file of the episode in the first scene")
    parser.add_argument("--layout", choices=LAYOUTS, default="panel", help="of the video")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


def run(make: Callable[[], Policy], parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Evaluate the policy, and print the figures as one line of JSON."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)  # for algorithms of Stable-Baselines3 that draw their actions
    kwargs = {"retrieval": args.retrieval, "sliding": args.sliding}
    if args.env_id == ENV_IDS[0]:
        kwargs["model"] = args.model
    arguments = (args.task, args.scenes, args.max_episode_steps, args.split, args.seed, args.deterministic)
    try:
        results = evaluate_policy(make(), args.env_id, *arguments, quiet=args.quiet, **kwargs)
        if args.video is not None:
            results["video"] = film(make(), args, kwargs)
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"{parser.prog}: error: {error}")
    results.pop("episodes")
    print(json.dumps(results))


def film(policy: Policy, args: argparse.Namespace, kwargs: dict) -> str:
    """The first of those episodes once more, as a video."""
    arguments = environment_arguments(policy) | kwargs | {"render_mode": "rgb_array"}
    env = gym.make(args.env_id, task=args.task, max_episode_steps=args.max_episode_steps, **arguments)
    env = Filmed(env, args.layout)

    def pictures():
        observation, _ = env.reset(seed=args.seed, options={"scene": SPLITS[args.split][0]})
        yield env.render()
        state, start, ended = None, np.ones(1, bool), False
        while not ended:
            batch = (
                {name: value[None] for name, value in observation.items()}
                if isinstance(observation, dict)
                else (observation[None])
            )
            actions, state = policy.predict(batch, state, start, args.deterministic)
            observation, _, terminated, truncated, _ = env.step(actions[0])
            start, ended = np.zeros(1, bool), terminated or truncated
            yield env.render()

    try:
        return str(write_video(args.video, pictures()))
    finally:
        env.close()


def open_policy(name: str, algorithm: str) -> Policy:
    """A policy by its name or file; ValueError where there is none."""
    if not name.endswith(".zip"):
        return make_policy(name)
    # Stable-Baselines3 would look for name.zip.zip, and tell of that.
    if not Path(name).is_file():
        raise ValueError(f"policy={name!r}: there is no such file; give one that Stable-Baselines3 wrote.")
    if not _is_agent(name):
        raise ValueError(f"policy={name!r} is no file that Stable-Baselines3 wrote, or is damaged; give another one.")
    module, algorithm = ALGORITHMS[algorithm]
    return getattr(importlib.import_module(module), algorithm).load(name, device="cpu")


def _is_agent(name: str) -> bool:
    if not zipfile.is_zipfile(name):
        return False
    with zipfile.ZipFile(name) as file:
        return "data" in file.namelist()


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("policy", help="a name, such as frontier, a policy that was saved, or a .zip file")
    parser.add_argument("--algo", choices=ALGORITHMS, default="ppo", help="that made the .zip file")
    args = parser.parse_args()
    run(partial(open_policy, args.policy, args.algo), parser, args)
