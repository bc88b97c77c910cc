"""Plans: length of a training, agent, and intervals of evaluations and checkpoints.

Training is counted in *rounds*. A round of an agent that learns from replay is one environment step, called ``steps``
in settings; a round of an agent that learns from whole episodes is an iteration of them, called ``iterations``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal

import pydantic

from latent_reward.agents.registry import Agent
from latent_reward.agents.td3 import TD3
from latent_reward.errors import (
    LareError,
    did_you_mean,
    require_choice,
    require_count,
    require_fraction,
    require_positive,
)
from latent_reward.training.settings import choose_agent

Counterfactual = Literal["none", "idle"]
"""What an episode is compared with, to find what an agent does to the others of its team."""


@dataclass(frozen=True)
class Replay:
    """How an agent learns from a buffer of transitions, one update per environment step.

    Attributes:
        warmup: steps with random actions before learning starts.
        batch_size: transitions per update.
        buffer_size: transitions that are kept, whatever the lengths of their episodes; the oldest episodes leave whole.
        refresh_episodes: stored episodes whose rewards are decoded again whenever an episode ends; only used by
            methods that read whole episodes.
    """

    warmup: int = 10_000
    batch_size: int = 256
    buffer_size: int = 1_000_000
    refresh_episodes: int = 64
    kind: Literal["replay"] = "replay"

    def __post_init__(self):
        """Raise a :class:`~latent_reward.errors.LareError` for numbers that make no sense."""
        require_positive(
            batch_size=self.batch_size, buffer_size=self.buffer_size, refresh_episodes=self.refresh_episodes
        )
        require_count(0, warmup=self.warmup)


@dataclass(frozen=True)
class Fresh:
    """How an agent learns from whole episodes that it has just played.

    Attributes:
        episodes: episodes per iteration, in parallel environments.
        first_updates: updates of the decoder in the first iteration, so that the policy never learns from an untrained
            one.
        updates: updates of the decoder in each later iteration.
        buffer_episodes: number of the last episodes that updates are drawn from.
        share: w, the share of each agent's reward that is replaced by the mean of its team.
        counterfactual: whether each agent is also paid for what it does to the others of its team, in comparison with
            the same episode in which it does nothing (``idle``), or not (``none``).
    """

    episodes: int = 82
    first_updates: int = 200
    updates: int = 10
    buffer_episodes: int = 15_000
    share: float = 0.0
    counterfactual: Counterfactual = "none"
    kind: Literal["episodes"] = "episodes"

    def __post_init__(self):
        """Raise a :class:`~latent_reward.errors.LareError` for numbers that make no sense."""
        require_positive(episodes=self.episodes, buffer_episodes=self.buffer_episodes)
        require_count(0, first_updates=self.first_updates, updates=self.updates)
        require_fraction(share=self.share)
        require_choice("counterfactual", self.counterfactual, Counterfactual)


@dataclass(frozen=True)
class Plan:
    """The plan of a training; intervals are in rounds.

    Attributes:
        rounds: length of the training of each seed.
        agent: the agent with its hyper-parameters.
        experience: how episodes are collected and learned from.
        evaluate_every: rounds between evaluations.
        evaluation_episodes: episodes per evaluation.
        checkpoint_every: rounds between checkpoints.
    """

    rounds: int = 100_000
    agent: Agent = field(default_factory=TD3)
    experience: Annotated[Replay | Fresh, pydantic.Field(discriminator="kind")] = field(
        default_factory=Replay
    )
    evaluate_every: int = 5_000
    evaluation_episodes: int = 10
    checkpoint_every: int = 25_000

    def __post_init__(self):
        """Raise a :class:`~latent_reward.errors.LareError` for numbers that make no sense."""
        require_positive(
            **{_UNITS[self.experience.kind]: self.rounds},
            evaluate_every=self.evaluate_every,
            evaluation_episodes=self.evaluation_episodes,
            checkpoint_every=self.checkpoint_every,
        )


_UNITS = {"replay": "steps", "episodes": "iterations"}  # what a round is called in settings
_TEAM = {"rounds": 1_000, "evaluate_every": 10, "evaluation_episodes": 50, "checkpoint_every": 100}
_ALONE_STEPS = 2048  # of one agent in an iteration
_ALONE_STORED = 1_000_000  # steps that one agent keeps


def _defaults(agent: Agent, horizon: int | None) -> dict[str, Any]:
    """What the plan and its experience are by default; ``horizon`` as for :func:`make_plan`."""
    if agent.learns_from == "replay":
        return {}
    if horizon is None:
        return _TEAM
    episodes = min(Fresh.episodes, -(-_ALONE_STEPS // horizon))
    stored = max(episodes, min(Fresh.buffer_episodes, _ALONE_STORED // horizon))
    alone = {"rounds": 500, "evaluation_episodes": 10, "episodes": episodes, "buffer_episodes": stored}
    return _TEAM | alone


def _checked(name: str, value: Any) -> Any:
    """The value of a setting as plain data; LareError if it is not possible."""
    if name == "counterfactual":
        return require_choice(name, value, Counterfactual)
    if name == "share":
        require_fraction(share=value)
        return float(value)
    require_count(0, **{name: value})
    return int(value)


def make_plan(agent: Agent, settings: Mapping[str, Any], horizon: int | None = None) -> Plan:
    """The plan for an agent from ``settings``: fields of the plan or of its experience, and ``agent``.

    Args:
        agent: what learns, unless ``settings`` have another agent, its kind, or a mapping of what is different in it.
        settings: what is different from the defaults.
        horizon: steps of the longest episode if one agent is alone, whose iterations then have about as many steps in
            any environment; None for a team.

    Raises:
        LareError: a setting does not exist for this agent, or its value makes no sense.
    """
    agent = choose_agent(settings.get("agent", agent), agent, alone=horizon is not None)
    experience = Replay if agent.learns_from == "replay" else Fresh
    unit = _UNITS[agent.learns_from]
    inner = {each.name for each in fields(experience)} - {"kind"}
    outer = {each.name for each in fields(Plan)} - {"rounds", "experience"} | {unit}
    for name in settings:
        if name not in inner | outer:
            known, near = ", ".join(sorted(inner | outer)), did_you_mean(str(name), inner | outer)
            source = "single steps" if agent.learns_from == "replay" else "whole episodes"
            raise LareError(
                f"{name}: {agent.kind} learns from {source} and has no such setting{near}; choose from {known}"
            )
    given: dict[str, Any] = _defaults(agent, horizon) | {
        "rounds" if name == unit else name: _checked(name, value)
        for name, value in settings.items()
        if name != "agent"
    }
    return Plan(
        agent=agent,
        experience=experience(**{name: value for name, value in given.items() if name in inner}),
        **{name: value for name, value in given.items() if name not in inner},
    )
