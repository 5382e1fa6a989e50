"""RecurrentPPO of sb3-contrib, a policy with a memory of its own, in generated worlds, many in a batch.

pip install -e ".[agents]"
python agents/recurrent_ppo.py --task look_back

Run again, it goes on from the last checkpoint. Hyperparameters: configs/agents/recurrent_ppo_TASK.yaml.
"""

from sb3_contrib import RecurrentPPO
from training import train

if __name__ == "__main__":
    train(RecurrentPPO, "recurrent_ppo", "MultiInputLstmPolicy", __doc__)
