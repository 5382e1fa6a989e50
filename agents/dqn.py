"""DQN of Stable-Baselines3 in generated worlds, many in a batch.

pip install -e ".[agents]"
python agents/dqn.py --task point_goal

Run again, it goes on from the last checkpoint, with an empty buffer. Hyperparameters: configs/agents/dqn_TASK.yaml.
"""

from stable_baselines3 import DQN
from training import train

if __name__ == "__main__":
    train(DQN, "dqn", "MultiInputPolicy", __doc__)
