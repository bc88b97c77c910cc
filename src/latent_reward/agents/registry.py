"""The table of agents, by the names that files use."""

from collections.abc import Callable
from typing import Annotated, Any

import pydantic

from latent_reward.agents.ppo import PPO
from latent_reward.agents.sac import SAC
from latent_reward.agents.td3 import DDPG, TD3
from latent_reward.data.spaces import ActionSpace, Continuous

Agent = Annotated[TD3 | SAC | PPO, pydantic.Field(discriminator="kind")]
"""All classes of agents; files distinguish them by ``kind``."""

AGENTS: dict[str, Callable[..., Any]] = {"td3": TD3, "ddpg": DDPG, "sac": SAC, "ppo": PPO}

# One agent learns in episodes of any length as usual (Schulman et al. 2017, table 3). The published experiments with
# teams have episodes of 25 steps, a fixed end and an undiscounted return.
_ALONE: dict[str, Agent] = {
    "ppo": PPO(
        discount=0.99,
        learning_rate=3e-4,
        clip=0.2,
        value_clip=None,
        entropy_weight=0.0,
        gradient_norm=0.5,
        minibatch=64,
        critic_sees_time=False,
        bootstrap=True,
    )
}


def default_kind(actions: ActionSpace, *, alone: bool) -> str:
    """TD3 for continuous actions of one agent, else PPO, as in the published experiments."""
    return "td3" if alone and isinstance(actions, Continuous) else "ppo"


def default_agent(kind: str, *, alone: bool) -> Agent:
    """The agent of a kind with the settings that it has by default, ``alone`` or in a team."""
    return _ALONE[kind] if alone and kind in _ALONE else AGENTS[kind]()
