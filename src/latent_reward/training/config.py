"""The configuration of a run, as one frozen value and as JSON."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pydantic

from latent_reward.credit.methods import Recipe
from latent_reward.data.feedback import EPISODE_RETURNS, Feedback
from latent_reward.encoder.selection import ALL_LATENTS, Selection
from latent_reward.errors import LareError, require_count, require_seed, shown
from latent_reward.files import to_json
from latent_reward.reading import Count, PathName, Printable, exactly, parse_json, read_bytes
from latent_reward.training.plan import Plan
from latent_reward.training.settings import require_sensible

CONFIG, CHECKPOINT = "config.json", "checkpoint.safetensors"
FORMAT = 4
MOST_SEEDS = 1_000


@dataclass(frozen=True)
class RunConfig:
    """The configuration of a run; ``config.json`` holds it with every default spelled out.

    Attributes:
        task: name of the task.
        method: the method with all of its settings.
        seeds: seeds that train in lockstep.
        encoder: where the encoder came from (a bundled draw or a folder); None for methods without one.
        plan: length of the training, agent, and intervals of evaluations and checkpoints.
        latents: which latents of the encoder are used.
        feedback: what learners are told of each episode.
    """

    task: PathName
    method: Recipe
    seeds: tuple[int, ...] = (0,)
    encoder: Printable | None = None
    plan: Plan = field(default_factory=Plan)
    latents: Selection = ALL_LATENTS
    feedback: Feedback = EPISODE_RETURNS

    def __post_init__(self):
        """Raise a :class:`~latent_reward.errors.LareError` for seeds that are none, repeated, or too many."""
        for seed in self.seeds:
            require_seed(seed)
        if not 0 < len(self.seeds) <= MOST_SEEDS or len(set(self.seeds)) < len(self.seeds):
            raise LareError(
                f"seeds: {shown(self.seeds)} must be different whole numbers, from one to {MOST_SEEDS:,} of them"
            )

    @property
    def ablations(self) -> str:
        """What is taken away from credit or made harder for it, in words; empty if nothing is."""
        latents = f"latents {self.latents}" if str(self.latents) else ""
        feedback = f"feedback {self.feedback}" if str(self.feedback) else ""
        return ", ".join(filter(None, (latents, feedback)))

    def require_readable(self) -> None:
        """Raise if the file of this configuration could not be read again.

        Raises:
            LareError: a setting has a value of the wrong kind, or the method or the agent is of a class that files do
                not know.
        """
        require_sensible(self.method.credit, "method")
        require_sensible(self.plan.agent, "agent")
        try:
            again = exactly(RunConfig, json.loads(self.to_json()), "settings", "correct the value")
        except TypeError as error:
            raise LareError(
                f"settings: one of them cannot be written to a file ({error}); give numbers"
            ) from None
        if again.to_json() != self.to_json() or type(again.plan.agent) is not type(self.plan.agent):
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
        if seed is not None and (isinstance(seed, bool) or seed not in self.seeds):
            raise LareError(
                f"seed: the run has no seed {shown(seed)}, only {', '.join(map(str, self.seeds))}"
            )
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


class Stored(pydantic.BaseModel, extra="forbid", strict=True):
    """What ``config.json`` holds."""

    format: Count
    config: dict[str, Any]
    versions: dict[str, str]


def read_config(folder: Path) -> RunConfig:
    """The configuration in a run folder.

    Raises:
        LareError: there is none, it is of another version, or something in it is missing, not known or not possible.
    """
    path, remedy = folder / CONFIG, "restore the file or start a new run"
    if not path.is_file():
        raise LareError(
            f"run: {folder} holds no run ({CONFIG} is missing); give the folder that `lare train` wrote"
        )
    what = f"run: {path} is damaged"
    data = parse_json(read_bytes(path), what, remedy)
    if isinstance(data, dict) and data.get("format") != FORMAT:
        raise LareError(
            f"run: {folder} was written by another version of latent-reward, which has to be used to read it; "
            "start a new run"
        )
    stored = exactly(Stored, data, what, remedy)
    config = exactly(RunConfig, stored.config, what, remedy)
    try:
        config.require_readable()
    except LareError as error:
        raise LareError(f"{what}: {str(error).partition(';')[0]}; {remedy}") from None
    return config


def spell_seeds(seeds: tuple[int, ...]) -> str:
    """``0..4`` for consecutive seeds, ``0,2,5`` otherwise; also the name of a default run folder."""
    if len(seeds) > 2 and seeds == tuple(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}..{seeds[-1]}"
    return ",".join(map(str, seeds))
