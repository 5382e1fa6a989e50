"""SAC of Stable-Baselines3 with continuous actions in generated worlds, many in a batch.

pip install -e ".[agents]"
python agents/sac.py --task point_goal

Run again, it goes on from the last checkpoint, with an empty buffer. Hyperparameters: configs/agents/sac_TASK.yaml.
"""

from stable_baselines3 import SAC
from training import train

if __name__ == "__main__":
    train(SAC, "sac", "MultiInputPolicy", __doc__)
