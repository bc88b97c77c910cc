"""PPO of Stable-Baselines3 on Reacher-v5, from episode returns alone.

    pip install "latent-reward[sb3]"
    python examples/sb3_ppo.py

The true rewards of each step are only summed: to returns for credit, and to statistics by the Monitors.
"""

import tyro
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize

import latent_reward as lr
from latent_reward.adapters.sb3 import CreditVecEnv


def main(steps: int = 200_000, seed: int = 0, envs: int = 8, rollout: int = 256) -> None:
    """Train, and evaluate on the true rewards."""
    credit = lr.Credit("Reacher-v5", seed=seed)
    inside = make_vec_env("Reacher-v5", n_envs=envs, seed=seed)  # its Monitors see the true rewards
    venv = VecNormalize(CreditVecEnv(inside, credit))  # credit sees raw observations
    model = PPO("MlpPolicy", venv, n_steps=rollout, gamma=0.98, seed=seed, device="cpu", verbose=1)
    model.learn(steps)

    judge = VecNormalize(make_vec_env("Reacher-v5", seed=1_000), training=False, norm_reward=False)
    judge.obs_rms = venv.obs_rms
    mean, deviation = evaluate_policy(model, judge, n_eval_episodes=20)
    print(f"return {mean:.2f} ± {deviation:.2f}; credit: {credit.quality}")


if __name__ == "__main__":
    tyro.cli(main)
