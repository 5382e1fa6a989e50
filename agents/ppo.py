"""PPO of Stable-Baselines3 in generated worlds, many in a batch.

pip install -e ".[agents]"
python agents/ppo.py --task point_goal

Writes checkpoints, each also as a small file that `ctxmem_env.policies.load_policy` reads, and a curve. Run again, it
goes on from the last checkpoint. Hyperparameters: configs/agents/ppo_TASK.yaml.
"""

from stable_baselines3 import PPO
from training import train

if __name__ == "__main__":
    train(PPO, "ppo", "MultiInputPolicy", __doc__)
