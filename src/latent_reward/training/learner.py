"""The learner of one team and its state, shared by both training loops."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from latent_reward.agents.base import AgentSpec, EpisodeAgent, ReplayAgent
from latent_reward.credit import metrics
from latent_reward.credit.base import CreditSpec, Method
from latent_reward.credit.broken import Broken, explain, first_broken
from latent_reward.data.buffer import Buffer, trimmed
from latent_reward.data.episodes import Episodes
from latent_reward.data.feedback import EPISODE_RETURNS, Feedback
from latent_reward.data.moments import Moments
from latent_reward.encoder.encoder import Encoder
from latent_reward.encoder.view import latent_size
from latent_reward.envs.base import Environment
from latent_reward.errors import LareError
from latent_reward.types import EpisodeFeatures, Key


@dataclass(frozen=True)
class TeamLearner:
    """The fixed part of a team's learning, static in ``jax.jit``: equal ones share their compiled programs.

    Attributes:
        method: the method of credit assignment.
        credit: the sizes and the encoder of the method.
        agent: the agent with its hyper-parameters.
        spec: the spaces of an agent of the team.
        feedback: what is told of each episode; the longest episode of ``credit`` is the longest bag.
        bags: how many bags an episode has.
    """

    method: Method
    credit: CreditSpec
    agent: ReplayAgent | EpisodeAgent
    spec: AgentSpec
    feedback: Feedback = EPISODE_RETURNS
    bags: int = 1

    def tell(self, episodes: Episodes, told: Moments | None, key: Key) -> tuple[Episodes, Moments | None]:
        """What credit and the agent's unit of reward are told of episodes, as bags; see :meth:`Feedback.tell`."""
        return self.feedback.tell(episodes, told, key, dense=self.method.needs_step_rewards)

    def numbers(self, episodes: Episodes) -> Float[Array, "episode time agent action"]:
        """The actions of episodes as numbers."""
        return self.spec.actions.as_numbers(episodes.action)

    def features(self, episodes: Episodes) -> EpisodeFeatures:
        """What the method reads of each step; 0 for agents that are absent."""
        found = self.method.features(self.credit, episodes, self.numbers(episodes))
        return jnp.where(episodes.mask[..., None], found, 0.0)

    @property
    def latent_names(self) -> tuple[str, ...]:
        """Names of the latents that the method reads, which are the first of the features."""
        encoder = self.credit.encoder
        return encoder.latent_names if encoder is not None and self.method.latents != "none" else ()

    def broken_latent(self, episodes: Episodes, features: EpisodeFeatures) -> Broken | None:
        """The first latent of episodes that is not finite; None if the method reads none."""
        if self.credit.encoder is None or not self.latent_names:
            return None
        columns = latent_size(self.credit.encoder, "both")  # of a view of one observation, half of them
        return first_broken(features[..., :columns], episodes, self.numbers(episodes))

    def warning(self, window: metrics.Sums, credit: Any, seed: int, uncertainty: float) -> str:
        """Why what the seed at this position has learned of credit should not be trusted; empty if nothing says so."""
        if not self.method.learns:
            return ""
        one = jax.tree.map(lambda leaf: leaf[seed], credit)
        return metrics.warning(window, self.method.latent_weights(self.credit, one), uncertainty)


def require_finite_latents(
    learner: TeamLearner, broken: Broken | None, seeds: Sequence[int], episodes: Sequence[int]
) -> None:
    """Raise if the encoder gave a number that is not finite.

    Args:
        learner: the learner of the team.
        broken: what was found for each seed, on a leading axis; None if nothing was looked for.
        seeds: the seed at each place of that axis.
        episodes: the number of the first of its episodes.

    Raises:
        LareError: naming the latent, the step, the episode, the seed and what it was computed from.
    """
    if broken is None or not np.asarray(broken.found).any():
        return
    place = int(np.argmax(broken.found))
    one = Broken(*(np.asarray(leaf)[place] for leaf in broken))
    where = f"episode {episodes[place] + one.episode} of seed {seeds[place]}"
    raise LareError(explain(one, learner.latent_names, where))


class State(NamedTuple):
    """The state of one team's learning; a run read from disk has no buffer.

    ``told`` are the moments of what was told so far; None unless noise is added to it.
    """

    agent: Any
    credit: Any
    buffer: Buffer | None
    told: Moments | None = None


def team_learners(
    world: Environment,
    method: Method,
    agent: ReplayAgent | EpisodeAgent,
    encoders: tuple[Encoder | None, ...],
    feedback: Feedback = EPISODE_RETURNS,
) -> tuple[TeamLearner, ...]:
    """The learner of each team of a world."""
    horizon = feedback.horizon(world.horizon)
    return tuple(
        TeamLearner(
            method,
            CreditSpec(team.observation_size, team.actions.size, team.agents, horizon, encoder),
            agent,
            AgentSpec(team.observation_size, team.actions),
            feedback,
            feedback.bags(world.horizon),
        )
        for team, encoder in zip(world.teams, encoders, strict=True)
    )


def saved(states: tuple[State, ...]) -> tuple[State, ...]:
    """The states of several seeds as a checkpoint saves them: without the unwritten rows of the buffers."""
    return tuple(
        state._replace(buffer=None if state.buffer is None else trimmed(state.buffer)) for state in states
    )
