"""PPO of Stable-Baselines3 learns to see as much ground as it can, in worlds that the model paints.

pip install -e ".[agents]"
python examples/train_ppo.py --steps 20000

`agents/ppo.py` trains for any task, with checkpoints, curves and hyperparameters.
"""

import argparse

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy

from ctxmem_env.sb3 import make_sb3_vec_env


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--steps", type=int, default=20_000, help="of all worlds together")
    parser.add_argument("--num-envs", type=int, default=8, help="worlds, which are stepped in one batch")
    parser.add_argument("--out", default="ppo_explore.zip")
    args = parser.parse_args()
    torch.set_num_threads(1)  # at this size more are seldom faster

    worlds = {"model": args.model, "task": "explore", "max_episode_steps": 64}
    envs = make_sb3_vec_env(n_envs=args.num_envs, seed=0, env_kwargs=worlds)
    rollout = min(64, args.steps // args.num_envs)
    model = PPO("CnnPolicy", envs, n_steps=rollout, batch_size=rollout * args.num_envs // 4, seed=0, verbose=0)
    before, _ = evaluate_policy(model, envs, n_eval_episodes=args.num_envs, deterministic=False)
    model.learn(args.steps, progress_bar=args.steps > 1000)
    after, _ = evaluate_policy(model, envs, n_eval_episodes=args.num_envs, deterministic=False)
    print(f"ground seen in an episode: {before:.1f} m² before, {after:.1f} m² after {model.num_timesteps} steps")
    model.save(args.out)


if __name__ == "__main__":
    main()
