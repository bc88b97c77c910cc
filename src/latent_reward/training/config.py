"""The configuration of a run, as one frozen value and as JSON."""

from dataclasses import dataclass, field, replace
from typing import Any

import pydantic

from latent_reward.credit.methods import Recipe
from latent_reward.errors import LareError, require_count
from latent_reward.files import to_json
from latent_reward.training.plan import Plan

CONFIG, CHECKPOINT = "config.json", "checkpoint.safetensors"
FORMAT = 3


@dataclass(frozen=True)
class RunConfig:
    """The configuration of a run; ``config.json`` holds it with every default spelled out.

    Attributes:
        task: name of the task.
        method: the method with all of its settings.
        seeds: seeds that train in lockstep.
        encoder: where the encoder came from (a bundled draw or a folder); None for methods without one.
        plan: length of the training, agent, and intervals of evaluations and checkpoints.
    """

    task: str
    method: Recipe
    seeds: tuple[int, ...] = (0,)
    encoder: str | None = None
    plan: Plan = field(default_factory=Plan)

    def __post_init__(self):
        """Raise a :class:`~latent_reward.errors.LareError` for negative, repeated or no seeds."""
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise LareError(f"seeds: {self.seeds} must be different whole numbers from 0 up, at least one")

    def require_readable(self) -> None:
        """Raise if the file of this configuration could not be read again.

        Raises:
            LareError: a setting has a value of the wrong kind, or the method or the agent is of a class that files do
                not know.
        """
        try:
            again = pydantic.TypeAdapter(RunConfig).validate_json(self.to_json())
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise LareError(f"{place}: {first['msg']}, not {first['input']!r}") from None
        if again != self:
            raise LareError(
                "method: its class, or that of the agent, is not one that files know; add it to `Credit` in "
                "credit/methods.py or to `Agent` in agents/registry.py"
            )

    def to_json(self) -> str:
        """The configuration as JSON text."""
        return to_json(self, indent=1)

    def index_of(self, seed: int | None) -> int:
        """The position of ``seed`` among the run's seeds; None is the first.

        Raises:
            LareError: the run has no such seed.
        """
        if seed is not None and seed not in self.seeds:
            raise LareError(f"seed: the run has no seed {seed}, only {', '.join(map(str, self.seeds))}")
        return 0 if seed is None else self.seeds.index(seed)


def first_difference(one: Any, other: Any, name: str = "") -> str:
    """Where two configurations, as plain data, differ first, such as ``plan.rounds is 300 and not 400``."""
    if isinstance(one, dict) and isinstance(other, dict):
        inner = (
            first_difference(one.get(key), other.get(key), f"{name}.{key}" if name else key)
            for key in {**one, **other}
        )
        return next(filter(None, inner), "")
    return "" if one == other else f"{name} is {one!r} and not {other!r}"


def extended(config: RunConfig, steps: int | None = None, iterations: int | None = None) -> RunConfig:
    """The configuration of a longer training, of ``steps`` or ``iterations`` in all.

    Raises:
        LareError: it is shorter than before, or counted in the other unit.
    """
    plan = config.plan
    unit, other = ("steps", "iterations") if plan.experience.kind == "replay" else ("iterations", "steps")
    given = {"steps": steps, "iterations": iterations}
    if given[other] is not None:
        raise LareError(f"{other}: {plan.agent.kind} trains for {unit}; write --{unit} N, the new total")
    total = given[unit]
    if total is None:
        return config
    require_count(1, **{unit: total})
    if total < plan.rounds:
        raise LareError(
            f"{unit}: a run of {plan.rounds:,} {unit} cannot be cut to {total:,}; give a larger number, the new total"
        )
    return replace(config, plan=replace(plan, rounds=int(total)))


def spell_seeds(seeds: tuple[int, ...]) -> str:
    """``0..4`` for consecutive seeds, ``0,2,5`` otherwise; also the name of a default run folder."""
    if len(seeds) > 2 and seeds == tuple(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}..{seeds[-1]}"
    return ",".join(map(str, seeds))
