"""LaRe: credit assignment for episodic reinforcement learning with latent rewards.

An encoder written by a language model turns each step into a few named latent rewards; a small decoder,
learned from episode returns alone, turns those into a proxy reward for every step. After Qu et al. 2025,
"Latent Reward: LLM-Empowered Credit Assignment in Episodic Reinforcement Learning", arXiv 2412.11120.

Names are imported when first used, so that the locked process that compiles generated source, and
``lare --help``, start without the training stack.
"""

import os
from importlib import import_module

TYPE_CHECKING = False  # not from `typing`, so that nothing more than this is imported before a command begins
if TYPE_CHECKING:
    from latent_reward.agents.ppo import PPO
    from latent_reward.agents.sac import SAC
    from latent_reward.agents.td3 import DDPG, TD3
    from latent_reward.credit.methods import Recipe, find_method
    from latent_reward.design.make import design_encoder
    from latent_reward.encoder.encoder import Encoder
    from latent_reward.encoder.from_function import FunctionEncoder, encoder_from_function
    from latent_reward.envs.named import allow_import
    from latent_reward.errors import LareError
    from latent_reward.library.assign import assign
    from latent_reward.library.credit import Credit
    from latent_reward.library.episode import Episode
    from latent_reward.report.wandb import WandbLog
    from latent_reward.sealing.open import load_encoder
    from latent_reward.task.load import load_task
    from latent_reward.task.open import make_env
    from latent_reward.task.task import Task, TeamTask
    from latent_reward.training.run import Run, load_run
    from latent_reward.training.train import resume, train

    __version__: str

__all__ = [
    "DDPG",
    "PPO",
    "SAC",
    "TD3",
    "Credit",
    "Encoder",
    "Episode",
    "FunctionEncoder",
    "LareError",
    "Recipe",
    "Run",
    "Task",
    "TeamTask",
    "WandbLog",
    "__version__",
    "allow_import",
    "assign",
    "design_encoder",
    "encoder_from_function",
    "find_method",
    "load_encoder",
    "load_run",
    "load_task",
    "make_env",
    "resume",
    "train",
]

_HOME = {
    **dict.fromkeys(("Run", "load_run"), "training.run"),
    **dict.fromkeys(("resume", "train"), "training.train"),
    **dict.fromkeys(("Task", "TeamTask"), "task.task"),
    **dict.fromkeys(("Recipe", "find_method"), "credit.methods"),
    **dict.fromkeys(("FunctionEncoder", "encoder_from_function"), "encoder.from_function"),
    **dict.fromkeys(("DDPG", "TD3"), "agents.td3"),
    "Credit": "library.credit",
    "Encoder": "encoder.encoder",
    "Episode": "library.episode",
    "LareError": "errors",
    "PPO": "agents.ppo",
    "SAC": "agents.sac",
    "WandbLog": "report.wandb",
    "allow_import": "envs.named",
    "assign": "library.assign",
    "design_encoder": "design.make",
    "load_encoder": "sealing.open",
    "load_task": "task.load",
    "make_env": "task.open",
}

# On a lone core nothing can run beside the host program, and handing every step to another thread costs time
# (`benchmarks/off_policy_speed.py --threads 1`). JAX reads this when it is imported.
if hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) == 1:
    os.environ.setdefault("JAX_CPU_ENABLE_ASYNC_DISPATCH", "false")


def __getattr__(name: str):
    """Import a public name from the module it lives in, the first time it is asked for."""
    if name == "__version__":
        from importlib.metadata import version

        return version("latent-reward")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """The public names, also those that were not imported yet."""
    return sorted({*globals(), *__all__})
