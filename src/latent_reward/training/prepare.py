"""Check what a training is asked for and resolve every default, before anything is written."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, SupportsIndex

from latent_reward.agents.registry import default_agent, default_kind
from latent_reward.credit.methods import Recipe
from latent_reward.data.feedback import Feedback
from latent_reward.data.spaces import Continuous
from latent_reward.encoder.bundled import bundled_folder
from latent_reward.encoder.encoder import Encoder
from latent_reward.encoder.from_function import FunctionEncoder
from latent_reward.encoder.selection import AnySelection, Selection, as_selection
from latent_reward.envs.base import Environment
from latent_reward.envs.named import import_options
from latent_reward.errors import LareError, require_count, require_paths, require_positive, require_seed
from latent_reward.library.where import AnyEncoder, Where, choose_encoder, require_encoder, selected
from latent_reward.sealing.open import open_encoder
from latent_reward.task.bare import BareTask, find_task
from latent_reward.task.open import open_environment
from latent_reward.task.task import AnyTask
from latent_reward.training.callbacks import OnEpisode
from latent_reward.training.config import (
    CHECKPOINT,
    CONFIG,
    MOST_SEEDS,
    RunConfig,
    first_difference,
    spell_seeds,
)
from latent_reward.training.plan import make_plan
from latent_reward.training.run import Training, encoder_folders, load_run, make_training
from latent_reward.training.settings import choose_feedback, choose_method
from latent_reward.training.teamwork import require_teamwork


@dataclass(frozen=True, eq=False)
class Prepared:
    """A training that was checked and can begin.

    Attributes:
        task: what is trained on.
        env: the object or the function that the environment was given as; None if the task can open it.
        world: the environment.
        config: the configuration, every default spelled out.
        encoders: the encoder of each team; None for methods without one.
        folder: the run folder, which is not made yet.
    """

    task: AnyTask | BareTask
    env: Any
    world: Environment
    config: RunConfig
    encoders: tuple[Encoder | None, ...]
    folder: Path

    def begin(self, on_episode: OnEpisode | None = None) -> Training:
        """The training before its first step.

        Raises:
            LareError: the agent cannot be trained in this environment.
        """
        return make_training(self.config, self.world, self.encoders, on_episode)


def prepare(
    task: Any,
    method: Recipe | str | Mapping[str, Any] = "lare",
    *,
    encoder: AnyEncoder | None = None,
    draw: SupportsIndex = 0,
    seed: SupportsIndex | Iterable[SupportsIndex] = 0,
    out: str | Path | None = None,
    max_steps: SupportsIndex | None = None,
    latents: AnySelection = None,
    feedback: Feedback | Mapping[str, Any] | None = None,
    **settings: Any,
) -> Prepared:
    """Check what a training is asked for, and resolve every default; nothing is written.

    The arguments are those of :func:`latent_reward.train`.

    Raises:
        LareError: an argument does not exist or does not fit, or the folder holds another run, or a finished one.
    """
    if out is not None:
        require_paths(out=out)
    require_count(0, draw=draw)
    require_encoder(encoder)
    selection, told = as_selection(latents), choose_feedback(feedback)
    seeds = _seeds(seed)
    if max_steps is not None:
        require_positive(max_steps=max_steps)
    found, env = find_task(task, None if max_steps is None else int(max_steps))
    world = open_environment(found, env)
    alone = sum(team.agents for team in world.teams) == 1
    kind = default_kind(world.teams[0].actions, alone=alone)
    plan = make_plan(default_agent(kind, alone=alone), settings, world.horizon if alone else None)
    method = choose_method(method, plan.agent.learns_from)
    require_teamwork(world, method, plan.experience)
    horizon = told.horizon(world.horizon)
    chosen, origin = _choose_encoders(found, world, method, encoder, int(draw), selection, horizon)
    used = selection if chosen[0] is None else chosen[0].card.selection
    config = RunConfig(found.name, method, seeds, origin, plan, used, told)
    config.require_readable()
    named = method.name if plan.agent.kind == kind else f"{method.name}-{plan.agent.kind}"
    folder = Path(out) if out else Path("runs") / found.name / named / spell_seeds(seeds)
    prepared = Prepared(found, env, world, config, chosen, folder)
    goes_on(prepared)
    return prepared


def _seeds(seed: Any) -> tuple[int, ...]:
    """One seed or several as numbers of Python; LareError for anything else."""
    if isinstance(seed, str | bytes | Mapping) or not isinstance(seed, Iterable):
        return (require_seed(seed),)
    return tuple(require_seed(each) for each in islice(seed, MOST_SEEDS + 1))


def _choose_encoders(
    task: AnyTask | BareTask,
    world: Environment,
    method: Recipe,
    encoder: AnyEncoder | None,
    draw: int,
    selection: Selection,
    horizon: int,
) -> tuple[tuple[Encoder | None, ...], str | None]:
    """The encoder of each team for a method, checked against what its agents see and do, and where they came from.

    The method reads episodes, or bags of them, of at most ``horizon`` steps.
    """
    described = (None,) * len(world.teams) if isinstance(task, BareTask) else task.descriptions
    given = _each_encoder(task, world, method, encoder, draw)
    chosen = tuple(
        choose_encoder(
            Where(
                each.name if each else task.name,
                team.observation_size,
                team.actions,
                team.agents,
                horizon,
                each,
            ),
            method,
            one,
        )
        for team, each, one in zip(world.teams, described, given, strict=True)
    )
    chosen = selected(chosen, selection, method)
    if chosen[0] is None:
        return chosen, None
    return chosen, f"bundled draw {draw}" if encoder is None else _origin(encoder, chosen[0])


def _each_encoder(
    task: AnyTask | BareTask, world: Environment, method: Recipe, encoder: AnyEncoder | None, draw: int
) -> Sequence[AnyEncoder | None]:
    """What is to be opened as the encoder of each team."""
    count, wanted = len(world.teams), method.credit.latents
    if wanted == "none":
        return (encoder,) * count
    if isinstance(encoder, Encoder | FunctionEncoder):
        if count > 1:
            raise LareError(f"encoder: {task.name} needs one for each team; give a folder with all of them")
        return (encoder,)
    if encoder is not None:
        return encoder_folders(Path(encoder), task)
    if isinstance(task, BareTask):
        can_be = task.env and (task.teams or isinstance(world.teams[0].actions, Continuous))
        words = f", describe it with `lare task init {task.env}`" if can_be else ""
        raise LareError(
            f"encoder: {method.name} reads latents, and {task.name} has no task with an encoder; choose a method "
            f"without latents (--method linear, gp or rrd-unbiased){words}, or give an encoder"
        )
    if wanted == "one":
        raise LareError(
            f"encoder: {method.name} needs an encoder with one latent, and none is bundled; design one with "
            f"`lare design {task.name} --reward` and pass its folder with --encoder"
        )
    return tuple(open_encoder(bundled_folder(each.name, draw)) for each in task.descriptions)


def _origin(given: AnyEncoder | None, first: Encoder) -> str:
    """Where an encoder that was given came from: its folder, or what it was made of."""
    if isinstance(given, str | Path):
        return str(given)
    return f"given, source {first.card.source_sha256[:12]}"


def goes_on(prepared: Prepared) -> bool:
    """Whether the folder holds this very training, unfinished, with a checkpoint to go on from.

    A training that stopped before its first checkpoint has learned nothing, and begins again.

    Raises:
        LareError: the folder holds another run, or a finished one.
    """
    folder = prepared.folder
    if not (folder / CONFIG).exists():
        return False
    saved = (folder / CHECKPOINT).exists()
    state = "holds a run already" if saved else "holds a run that stopped before its first checkpoint"
    remedy = (
        f"continue it with `lare train --resume {folder}{import_options()}`, or choose another folder with --out"
        if saved
        else "remove the folder, or choose another with --out"
    )
    try:
        run = load_run(folder, env=prepared.env)
    except LareError as error:
        raise LareError(f"out: {folder} {state}; {remedy} ({error})") from error
    different = first_difference(json.loads(run.config.to_json()), json.loads(prepared.config.to_json()))
    if not different and run.task != prepared.task:
        different = "its task is another one"
    if not different and run.encoders != prepared.encoders:
        different = "its encoder is another one"
    if different:
        raise LareError(f"out: {folder} {state} ({different}); {remedy}")
    if saved and run.finished:
        unit = "steps" if run.config.plan.experience.kind == "replay" else "iterations"
        raise LareError(
            f"out: {folder} holds a run already, which is finished; extend it with "
            f"`lare train --resume {folder}{import_options()} --{unit} N`, or choose another folder with --out"
        )
    return saved
