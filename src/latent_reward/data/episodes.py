"""Whole episodes of one team, the one container that environments fill and credit reads."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from latent_reward.types import AgentMask, EpisodeRewards, Lengths, Returns


class Episodes(NamedTuple):
    """Episodes of one team, padded to the horizon; one agent is an axis of length one.

    Attributes:
        observation: before each step, and after the last.
        action: what each agent did: a whole number, or a vector on a last axis.
        mask: whether the agent is there at the step: the episode has not ended, and the agent lives.
        terminated: whether the agent terminated with the step. If this is false at its last step, a time limit cut the
            episode.
        returns: the team's return, the one number of an episode that credit may be fitted to.
        hidden_reward: the true reward of each step, which sums to the return over the mask (:func:`paid_while_there`).
            It is measured against and never fitted, except by the references ``dense``, ``episodic`` and ``uniform``.
    """

    observation: Float[Array, "episode time_after agent observation"]
    action: Num[Array, "episode time agent *action"]
    mask: AgentMask
    terminated: Bool[Array, "episode time agent"]
    returns: Returns
    hidden_reward: EpisodeRewards

    @property
    def lengths(self) -> Lengths:
        """Steps of each episode up to the last at which any agent is there; 0 where there is no episode."""
        return last_step(jnp.asarray(self.mask)) + 1

    @property
    def before(self) -> Float[Array, "episode time agent observation"]:
        """o of each step."""
        return self.observation[:, :-1]

    @property
    def after(self) -> Float[Array, "episode time agent observation"]:
        """o′ of each step."""
        return self.observation[:, 1:]

    @property
    def cut(self) -> Bool[Array, "episode time agent"]:
        """The last step of each agent that was cut by a time limit before it terminated."""
        none = jnp.zeros_like(self.mask[:, :1])
        last = self.mask & ~jnp.concatenate([self.mask[:, 1:], none], axis=1)
        return last & ~self.terminated


class Played(NamedTuple):
    """Episodes together with what the policies that played them knew of their choices.

    Attributes:
        episodes: what was seen, done and paid.
        log_probability: of each action.
        available: the actions each agent could choose from; None: always all.
        won: whether the team has won; None: nothing is won in this environment.
    """

    episodes: Episodes
    log_probability: Float[Array, "episode time agent"]
    available: Bool[Array, "episode time agent action"] | None
    won: Bool[Array, " episode"] | None


def last_step(mask: AgentMask) -> Int[Array, " episode"]:
    """The last step at which any agent is there; −1 where there is none."""
    return jnp.where(mask.any(axis=2), jnp.arange(mask.shape[1]), -1).max(axis=1)


def paid_while_there(reward: EpisodeRewards, mask: AgentMask) -> EpisodeRewards:
    """The rewards with those of absent agents moved to steps at which they are there, so that none is lost.

    Environments may pay an agent after it has left: a team that wins is paid with the dead. Such a reward counts at the
    last step at which the agent was there, or at its first if it comes only later. What is paid to an agent that never
    comes is shared equally by those who are there at the last step. The result is 0 outside the mask, and its sum is
    that of ``reward``, unless no agent is there at any step.

    Args:
        reward: of every step and agent, 0 after the end of the episode.
        mask: whether the agent is there.
    """
    episodes, steps, agents = mask.shape
    number = jnp.arange(steps)[:, None]
    latest = jax.lax.cummax(jnp.where(mask, number, -1), axis=1)
    step = jnp.where(latest >= 0, latest, jnp.argmax(mask, axis=1)[:, None])
    comes = mask.any(axis=1, keepdims=True)
    place = (jnp.arange(episodes)[:, None, None], step, jnp.arange(agents))
    moved = jnp.zeros_like(reward).at[place].add(jnp.where(comes, reward, 0.0))
    last = mask & (number == last_step(mask)[:, None, None])
    share = jnp.where(comes, 0.0, reward).sum(axis=(1, 2)) / jnp.maximum(last.sum(axis=(1, 2)), 1)
    return moved + jnp.where(last, share[:, None, None], 0.0)


def team_return(reward: EpisodeRewards, mask: AgentMask) -> Returns:
    """R of each episode: the sum of the rewards of all steps and agents that exist."""
    return jnp.where(mask, reward, 0.0).sum(axis=(1, 2))


def team_mean(
    reward: Float[Array, "*batch agent"], mask: Bool[Array, "*batch agent"]
) -> Float[Array, "*batch agent"]:
    """The average over the agents that exist, for each of them; rewards of others must be 0."""
    mean = reward.sum(axis=-1, keepdims=True) / jnp.maximum(mask.sum(axis=-1, keepdims=True), 1)
    return jnp.where(mask, mean, 0.0)
