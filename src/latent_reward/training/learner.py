"""What both training loops share: one team's learner, its state, and what an evaluation reports."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from latent_reward.agents.base import AgentSpec
from latent_reward.agents.registry import Agent
from latent_reward.credit.base import CreditSpec
from latent_reward.credit.methods import Credit
from latent_reward.data.buffer import Buffer, trimmed
from latent_reward.data.episodes import Episodes
from latent_reward.encoder.encoder import Encoder
from latent_reward.envs.base import Environment
from latent_reward.types import EpisodeFeatures


@dataclass(frozen=True)
class TeamLearner:
    """What stays fixed while a team trains, static in ``jax.jit``: equal ones share their compiled programs.

    Attributes:
        method: how credit is assigned.
        credit: where the method works.
        agent: how the team's policy learns.
        spec: what an agent of the team sees and does.
    """

    method: Credit
    credit: CreditSpec
    agent: Agent
    spec: AgentSpec

    def numbers(self, episodes: Episodes) -> Float[Array, "episode time agent action"]:
        """The actions of episodes as numbers."""
        return self.spec.actions.as_numbers(episodes.action)

    def features(self, episodes: Episodes) -> EpisodeFeatures:
        """What the method reads of each step; 0 where nobody is, whatever is seen there."""
        found = self.method.features(self.credit, episodes, self.numbers(episodes))
        return jnp.where(episodes.mask[..., None], found, 0.0)


class State(NamedTuple):
    """Everything that learning changes in one team; runs read from disk have no buffer."""

    agent: Any
    credit: Any
    buffer: Buffer | None


def team_learners(
    world: Environment, method: Credit, agent: Agent, encoders: tuple[Encoder | None, ...]
) -> tuple[TeamLearner, ...]:
    """The learner of each team of a world."""
    return tuple(
        TeamLearner(
            method,
            CreditSpec(team.observation_size, team.actions.size, team.agents, world.horizon, encoder),
            agent,
            AgentSpec(team.observation_size, team.actions),
        )
        for team, encoder in zip(world.teams, encoders, strict=True)
    )


def saved(states: tuple[State, ...]) -> tuple[State, ...]:
    """What a checkpoint keeps of the states of several seeds: all but unwritten rows of the buffers."""
    return tuple(
        state._replace(buffer=None if state.buffer is None else trimmed(state.buffer)) for state in states
    )


def commit(states: Any) -> Any:
    """``states`` on the default device, as every later state is: so nothing compiles twice."""
    return jax.device_put(states, jax.devices()[0])


@dataclass(frozen=True)
class Report:
    """What one team of one seed shows at one evaluation.

    Attributes:
        seed: the seed.
        team: name of the team; empty where there is only one.
        step: environment steps so far.
        episodes: episodes so far.
        return_mean: mean return of the evaluation episodes.
        return_std: their standard deviation.
        win_rate: share of the evaluation episodes won; NaN where nothing is won.
        training_return: return of the last training episodes.
        losses: what learning shows, by name.
        credit: the metrics of credit, by name.
        steps_per_second: environment steps of each seed per second since the last report.
        warning: what is wrong with the credit, or nothing.
    """

    seed: int
    team: str
    step: int
    episodes: int
    return_mean: float
    return_std: float
    win_rate: float
    training_return: float
    losses: dict[str, float]
    credit: dict[str, float]
    steps_per_second: float
    warning: str

    @property
    def who(self) -> str:
        """Whose numbers these are, for people."""
        return f"seed {self.seed} {self.team}".rstrip()

    def row(self) -> dict[str, Any]:
        """All numbers by their names in ``metrics.jsonl``."""
        fields = dict(vars(self))
        losses, credit, speed, warning = (
            fields.pop(name) for name in ("losses", "credit", "steps_per_second", "warning")
        )
        return {**fields, **losses, **credit, "steps_per_second": speed, "warning": warning}
