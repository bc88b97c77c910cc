"""Rewards of a team that count more than an agent's own: shared ones, and what an agent does to the others.

What costs two agents, such as a collision, is paid by each of them for its own half only. There are two remedies, which
are applied to the rewards r of any method, after it was fitted and before the policy learns.

**Sharing.** r̃_i = (1 − w) r_i + w · mean_j r_j. With w = 1 all agents want the same, and each is also paid for what it
has nothing to do with.

**Counterfactual credit**, difference rewards (Wolpert and Tumer 2001, "Optimal payoff functions for members of
collectives"). The episode is played again for each agent i, with the same random numbers and with i doing nothing at
any step; r⁻ⁱ are the rewards that the method gives there:
    r̃_ti = r_ti + Σ_{j≠i} (r_tj − r⁻ⁱ_tj).
No action of i changes r⁻ⁱ, so an agent that maximises Σ_t r̃_ti maximises the rewards of the team. What the others earn
without its doing is not part of it but cancels.

The comparison is with a whole episode. If only the action of step t were replaced, the sum over steps would subtract
the reward of doing nothing in states that the agent itself has brought about, and an agent would be paid for getting
into states in which doing nothing is bad.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from latent_reward.credit.methods import Recipe
from latent_reward.data.episodes import paid_while_there, team_mean
from latent_reward.envs.base import Environment, HostWorld
from latent_reward.errors import LareError
from latent_reward.training.plan import Fresh
from latent_reward.types import AgentMask, EpisodeRewards

Without = Callable[[Int[Array, ""]], EpisodeRewards]
"""The number of an agent to the rewards of the same episodes in which this agent does nothing."""


def require_teamwork(world: Environment, method: Recipe, experience: Any) -> None:
    """Raise if rewards cannot be shared or compared as they are asked to be.

    Raises:
        LareError: naming the setting, why it is not possible, and the remedy.
    """
    if not isinstance(experience, Fresh):
        return
    share, wanted = experience.share, experience.counterfactual
    given = f"share: {share}" if share else "" if wanted == "none" else f"counterfactual: {wanted}"
    if given and max(team.agents for team in world.teams) == 1:
        raise LareError(f"{given} is for teams, and {world.name} has no team of several; leave it out")
    if share and wanted != "none":
        raise LareError(
            f"share: {share} beside counterfactual {wanted} would pay agents twice for what they do to the others; "
            "leave one of them out"
        )
    if share and getattr(method.credit, "agents", "each") == "mean":
        raise LareError(
            f"share: {share} changes nothing, because {method.name} pays every agent the mean of its team; leave it out"
        )
    if wanted != "none":
        _require_comparable(world, method, wanted)


def _require_comparable(world: Environment, method: Recipe, wanted: str) -> None:
    """Raise if a world cannot be played again, or if a method cannot tell what that would have paid."""
    if isinstance(world, HostWorld):
        raise LareError(
            f"counterfactual: {wanted} needs a compiled world, which is played again with the same random numbers, and "
            f"{world.name} runs in Python; leave it out, or give a share"
        )
    for team in world.teams:
        if team.idle is None:
            raise LareError(
                f"counterfactual: {wanted} needs an action that does nothing, and the {team.name} of {world.name} have "
                "none; give their Team an idle action, or give a share"
            )
    credit = method.credit
    if credit.told or (credit.reference and not credit.needs_step_rewards):
        raise LareError(
            f"counterfactual: {method.name} makes rewards of the return of their own episode, and that of an episode "
            "which was not played is not known; choose another method, such as lare, or give a share"
        )


def team_reward(
    experience: Fresh, reward: EpisodeRewards, mask: AgentMask, without: Without | None
) -> EpisodeRewards:
    """The reward that each agent of a team learns from at each step.

    Args:
        experience: whether rewards are shared or compared.
        reward: what the method gives, 0 where the mask is false.
        mask: whether the agent is there.
        without: what it gives where one agent does nothing; None where the world cannot be played again.
    """
    if experience.counterfactual == "idle":
        assert without is not None  # other worlds are refused
        reward = with_effects(reward, mask, without)
    return shared(reward, mask, experience.share) if experience.share else reward


def shared(reward: EpisodeRewards, mask: AgentMask, share: float) -> EpisodeRewards:
    """(1 − w) r_i + w · mean_j r_j over the agents j that are there; 0 where the mask is false.

    Args:
        reward: of each step and agent, 0 where the mask is false.
        mask: whether the agent is there.
        share: w.
    """
    return (1.0 - share) * reward + share * team_mean(reward, mask)


def with_effects(reward: EpisodeRewards, mask: AgentMask, without: Without) -> EpisodeRewards:
    """r_i + Σ_{j≠i} (r_j − r⁻ⁱ_j) of each step; effects that outlast an agent are paid at its last step.

    One agent is compared at a time, so that only two sets of episodes are in memory.

    Args:
        reward: r, 0 where the mask is false.
        mask: whether the agent is there.
        without: the number of agent i to r⁻ⁱ.
    """
    agents = jnp.arange(reward.shape[2])

    def effect(agent: Int[Array, ""]):
        return jnp.where(agents == agent, 0.0, reward - without(agent)).sum(axis=2)

    effects = jnp.moveaxis(jax.lax.map(effect, agents), 0, 2)
    return reward + paid_while_there(effects, mask)
