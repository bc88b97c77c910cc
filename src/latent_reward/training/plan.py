"""Plans: how much is trained, with what, and when it is looked at. One for each kind of training."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from latent_reward.agents.ppo import PPOConfig
from latent_reward.agents.td3 import TD3Config
from latent_reward.errors import LareError, require_positive


@dataclass(frozen=True)
class Schedule:
    """When things happen, in environment steps per seed.

    Attributes:
        warmup: steps with random actions before learning starts.
        evaluate_every: steps between evaluations.
        evaluation_episodes: episodes per evaluation.
        checkpoint_every: steps between checkpoints.
    """

    warmup: int = 10_000
    evaluate_every: int = 5_000
    evaluation_episodes: int = 10
    checkpoint_every: int = 25_000


@dataclass(frozen=True)
class TeamSchedule:
    """When things happen, in iterations.

    Attributes:
        evaluate_every: iterations between evaluations.
        evaluation_episodes: episodes per evaluation.
        checkpoint_every: iterations between checkpoints.
    """

    evaluate_every: int = 10
    evaluation_episodes: int = 50
    checkpoint_every: int = 100


@dataclass(frozen=True)
class Fitting:
    """How much the decoder of a team is fitted.

    Attributes:
        first_updates: updates in the first iteration, so that no policy learns from an untrained decoder.
        updates: updates in each iteration after it.
        buffer_episodes: how many of the last episodes they are drawn from.
    """

    first_updates: int = 200
    updates: int = 10
    buffer_episodes: int = 15_000


@dataclass(frozen=True)
class OffPolicyPlan:
    """One agent in an environment of its own: TD3, one update per step.

    Attributes:
        steps: environment steps per seed.
        schedule: warm-up, evaluation and checkpoint intervals.
        agent: TD3's hyper-parameters.
        batch_size: transitions per agent update.
        buffer_size: transitions kept for replay.
        kind: tells the two plans apart in a file.
    """

    steps: int = 100_000
    schedule: Schedule = field(default_factory=Schedule)
    agent: TD3Config = field(default_factory=TD3Config)
    batch_size: int = 256
    buffer_size: int = 1_000_000
    kind: Literal["off-policy"] = "off-policy"

    def __post_init__(self):
        """Refuse numbers that cannot be meant."""
        _at_least_one(self, "steps", "batch_size", "buffer_size")
        _at_least_one(self.schedule, "evaluate_every", "evaluation_episodes", "checkpoint_every")
        if self.schedule.warmup < 0:
            raise LareError(f"warmup: {self.schedule.warmup} is negative; give 0 or more steps")


@dataclass(frozen=True)
class OnPolicyPlan:
    """Teams in a compiled world: PPO, one update per iteration of whole episodes.

    Attributes:
        iterations: how many iterations; step size and clipping fall linearly over them.
        episodes: episodes per iteration, in parallel worlds.
        schedule: evaluation and checkpoint intervals.
        fitting: how much the decoder is fitted.
        agent: PPO's hyper-parameters.
        kind: tells the two plans apart in a file.
    """

    iterations: int = 1_000
    episodes: int = 82
    schedule: TeamSchedule = field(default_factory=TeamSchedule)
    fitting: Fitting = field(default_factory=Fitting)
    agent: PPOConfig = field(default_factory=PPOConfig)
    kind: Literal["on-policy"] = "on-policy"

    def __post_init__(self):
        """Refuse numbers that cannot be meant."""
        _at_least_one(self, "iterations", "episodes")
        _at_least_one(self.schedule, "evaluate_every", "evaluation_episodes", "checkpoint_every")
        _at_least_one(self.fitting, "buffer_episodes")
        _at_least_one(self.agent, "epochs", "minibatch")
        for name in ("first_updates", "updates"):
            if getattr(self.fitting, name) < 0:
                raise LareError(f"{name}: {getattr(self.fitting, name)} is negative; give 0 or more")


Plan = OffPolicyPlan | OnPolicyPlan


def make_plan(task: str, of_teams: bool, settings: Mapping[str, Any]) -> Plan:
    """The plan for a task from ``settings``: fields of its kind of plan, or of the schedule within.

    Raises:
        LareError: a setting belongs to the other kind of plan, or to none, or its value cannot be meant.
    """
    kind, schedule = (OnPolicyPlan, TeamSchedule) if of_teams else (OffPolicyPlan, Schedule)
    direct, nested = _names(kind) - {"kind"}, _names(schedule)
    for name in settings:
        if name not in direct | nested:
            known = ", ".join(sorted(direct | nested))
            who = "a team of agents" if of_teams else "one agent"
            raise LareError(f"{name}: {task} trains {who} and has no such setting; choose from {known}")
    inner = {name: value for name, value in settings.items() if name in nested}
    outer = {name: value for name, value in settings.items() if name in direct}
    outer["schedule"] = replace(outer.get("schedule", schedule()), **inner)
    return kind(**outer)


def _names(kind: type) -> set[str]:
    return {each.name for each in fields(kind)}


def _at_least_one(part: Any, *names: str) -> None:
    require_positive(**{name: getattr(part, name) for name in names})
