"""The agents there are, by the names that files and the command line use."""

from typing import Annotated

import pydantic

from latent_reward.agents.ppo import PPO
from latent_reward.agents.td3 import TD3
from latent_reward.data.spaces import ActionSpace, Continuous

Agent = Annotated[TD3 | PPO, pydantic.Field(discriminator="kind")]
"""Every kind of agent, as files tell them apart."""

AGENTS: dict[str, type[TD3] | type[PPO]] = {"td3": TD3, "ppo": PPO}


def default_agent(actions: ActionSpace) -> Agent:
    """TD3 for continuous actions, PPO for discrete ones, as in the published experiments."""
    return TD3() if isinstance(actions, Continuous) else PPO()
