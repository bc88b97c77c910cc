"""SAC of Stable-Baselines3 on Reacher-v5, from episode returns alone.

    pip install "latent-reward[sb3]"
    python examples/sb3_sac.py

For SBX, import SAC from ``sbx``; everything else stays as it is.
"""

import tyro
from stable_baselines3 import SAC
from stable_baselines3.common.evaluation import evaluate_policy

import latent_reward as lr
from latent_reward.adapters.sb3 import CreditReplayBuffer


def main(steps: int = 20_000, seed: int = 0) -> None:
    """Train, and evaluate on the true rewards."""
    credit = lr.Credit("Reacher-v5", seed=seed)
    model = SAC(
        "MlpPolicy",
        "Reacher-v5",
        replay_buffer_class=CreditReplayBuffer,
        replay_buffer_kwargs={"credit": credit},
        seed=seed,
        verbose=1,
    )
    model.learn(steps)
    mean, deviation = evaluate_policy(model, model.get_env(), n_eval_episodes=20)
    print(f"return {mean:.2f} ± {deviation:.2f}; credit: {credit.quality}")


if __name__ == "__main__":
    tyro.cli(main)
