"""A task: an environment together with its description in words.

A task is data. It gives the environment, the goal and one *field* per index of the observation and of the action,
so that a reader who has never seen the environment can judge a step from its numbers. The other modules of this
package read a task from YAML (``load``), create its environment (``open``), compare the two (``check``), draft a
task for a new environment (``draft``) and look for texts that give the reward away (``leakage``).
"""

from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

import pydantic
from pydantic.dataclasses import dataclass

from latent_reward.reading import FileName, PathName, Positive
from latent_reward.task import fields
from latent_reward.task.fields import STRICT, Field, Part, Text, Variant


def default_role() -> str:
    """The role instruction of every task that does not have its own."""
    return Path(__file__).with_name("role.txt").read_text(encoding="utf-8").strip()


@dataclass(frozen=True, config=STRICT)
class Task:
    """An environment, its time limit, its goal in words and the meaning of all its numbers.

    ``goal`` has two variants: ``plain`` says what is wanted and reveals no term of the hidden reward; ``paper`` is
    as informative as the task texts of the published experiments. ``role`` instructs a language model what to
    write.
    """

    name: PathName
    env_id: Annotated[Text, pydantic.Field(validation_alias=pydantic.AliasChoices("env", "env_id"))]
    max_steps: Positive
    goal: dict[Variant, Text]
    observation: Annotated[tuple[Field, ...], pydantic.Field(min_length=1)]
    action: tuple[Field, ...]
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    role: Text = field(default_factory=default_role)

    # Number of indices that the fields describe, and the bounds of each: float32, infinite where unknown.
    observation_size = property(lambda self: fields.size(self.observation))
    action_size = property(lambda self: fields.size(self.action))
    observation_low = property(lambda self: fields.bounds(self.observation)[0])
    observation_high = property(lambda self: fields.bounds(self.observation)[1])
    action_low = property(lambda self: fields.bounds(self.action)[0])
    action_high = property(lambda self: fields.bounds(self.action)[1])

    def describe(self, part: Part) -> str:
        """The observation form or the action form as text for a prompt: one line per field."""
        described: tuple[Field, ...] = getattr(self, part)
        lines = [f"{part}: array of shape (batch_size, {fields.size(described)})"]
        for each in sorted(described, key=lambda field: field.index):
            place = f"{each.index}" if each.count == 1 else f"{each.index}:{each.indices.stop}"
            low = "-inf" if each.low is None else f"{each.low:g}"
            high = "inf" if each.high is None else f"{each.high:g}"
            limits = "" if each.low is None and each.high is None else f", from {low} to {high}"
            unit = "no unit" if each.unit == "-" else each.unit
            lines.append(f"- {part}[:, {place}] {each.name} ({unit}{limits}): {each.meaning}")
        return "\n".join(lines)

    @property
    def descriptions(self) -> "tuple[Task, ...]":
        """The task of each agent that needs an encoder: here the task itself."""
        return (self,)


@dataclass(frozen=True, config=STRICT)
class Team:
    """Agents with the same spaces and one shared return: their number, goal, and the fields of one of them.

    Actions are discrete and one-hot: ``action`` has one field per choice, which is 1 for the chosen one and else 0.
    ``members`` are the agents' names in a PettingZoo environment, or patterns such as ``adversary_*``.
    """

    name: Annotated[str, pydantic.StringConstraints(pattern=r"^[a-z][a-z0-9_-]*$", max_length=60)]
    agents: Positive
    goal: dict[Variant, Text]
    observation: Annotated[tuple[Field, ...], pydantic.Field(min_length=1)]
    action: Annotated[tuple[Field, ...], pydantic.Field(min_length=1)]
    members: tuple[Text, ...] = ()
    role: Text = field(default_factory=default_role)


@dataclass(frozen=True, config=STRICT)
class TeamTask:
    """One or more teams of learning agents in a compiled world or in a PettingZoo environment."""

    name: FileName
    max_steps: Positive
    teams: Annotated[tuple[Team, ...], pydantic.Field(min_length=1)]
    world: str = ""
    pettingzoo: str = ""
    env_kwargs: dict[str, Any] = field(default_factory=dict)

    @pydantic.model_validator(mode="after")
    def _coherent(self) -> "TeamTask":
        names = [team.name for team in self.teams]
        if len(set(names)) < len(names):
            raise ValueError("two teams have the same name")
        if bool(self.world) == bool(self.pettingzoo):
            raise ValueError(
                "teams act in a `world` or in a `pettingzoo` environment: exactly one of the two"
            )
        if self.world and (self.env_kwargs or any(team.members for team in self.teams)):
            raise ValueError("env_kwargs and members belong to a `pettingzoo` environment, not to a `world`")
        return self

    @property
    def descriptions(self) -> tuple[Task, ...]:
        """The task of one agent of each team, for which an encoder is designed.

        It is named after the whole task if that has one team, else ``name/team``.
        """
        suffixes = [f"/{team.name}" if len(self.teams) > 1 else "" for team in self.teams]
        words = ("goal", "observation", "action", "role")
        return tuple(
            Task(
                name=self.name + suffix,
                env_id=f"{self.world or self.pettingzoo}{suffix}",
                max_steps=self.max_steps,
                **{name: getattr(team, name) for name in words},
            )
            for team, suffix in zip(self.teams, suffixes, strict=True)
        )


AnyTask = Task | TeamTask
