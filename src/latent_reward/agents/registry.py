"""The table of agents, by the names that files use."""

from typing import Annotated

import pydantic

from latent_reward.agents.ppo import PPO
from latent_reward.agents.td3 import TD3
from latent_reward.data.spaces import ActionSpace, Continuous

Agent = Annotated[TD3 | PPO, pydantic.Field(discriminator="kind")]
"""All classes of agents; files distinguish them by ``kind``."""

AGENTS: dict[str, type[TD3] | type[PPO]] = {"td3": TD3, "ppo": PPO}


def default_agent(actions: ActionSpace) -> Agent:
    """TD3 for continuous actions, PPO for discrete ones, as in the published experiments."""
    return TD3() if isinstance(actions, Continuous) else PPO()
