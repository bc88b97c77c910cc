"""Train a run from a task and a method to a finished folder, or resume one that was stopped."""

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, SupportsIndex

import pydantic

from latent_reward.compilation import use_compilation_cache
from latent_reward.credit.methods import Recipe
from latent_reward.data.feedback import Feedback
from latent_reward.encoder.encoder import save
from latent_reward.encoder.selection import AnySelection
from latent_reward.envs.named import import_options
from latent_reward.envs.recorder import InterruptedEnvironment
from latent_reward.errors import (
    BrokenEnvironmentError,
    LareError,
    disk_errors,
    require_flags,
    require_functions,
    shown,
)
from latent_reward.files import to_json, write_text
from latent_reward.library.where import AnyEncoder
from latent_reward.reading import to_yaml
from latent_reward.report.curves import can_draw, draw_run
from latent_reward.report.log import Log, Logger
from latent_reward.report.progress import Progress
from latent_reward.training.callbacks import Callbacks, OnCheckpoint, OnEpisode, OnEvaluation, Saved
from latent_reward.training.config import CHECKPOINT, CONFIG, FORMAT, RunConfig, extended, spell_seeds
from latent_reward.training.folder import claimed, lengths, note
from latent_reward.training.interrupt import Interrupt
from latent_reward.training.prepare import Prepared, goes_on, prepare
from latent_reward.training.run import (
    Run,
    Training,
    encoder_folders,
    evaluated,
    load_run,
    make_training,
    saved_rounds,
)


def train(
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
    drop_unfinished: bool = False,
    quiet: bool = False,
    on_episode: OnEpisode | None = None,
    on_evaluation: OnEvaluation | None = None,
    on_checkpoint: OnCheckpoint | None = None,
    loggers: Sequence[Logger] = (),
    **settings: Any,
) -> Run:
    """Train agents that see one return per episode, and return the finished run.

    The same call goes on with a run that was stopped: from its last checkpoint, or from the beginning if there is none.

    Args:
        task: a task, the name of a built-in one, the path of a task file, the id of an environment, an environment of
            Gymnasium or a parallel one of PettingZoo, or a function that makes one. An environment is copied for every
            seed and evaluation episode, and never stepped itself.
        method: the name of a method (``lare methods`` lists them), a method of your own, or a mapping with the
            ``name`` and changed settings, such as ``{"name": "rrd", "hidden": (64, 64)}``.
        encoder: an encoder, its folder, or a function (:func:`latent_reward.encoder_from_function`); None takes the
            bundled one of ``draw``. For a task with several teams, a folder with one encoder under the name of each.
        draw: number of the bundled encoder.
        seed: one seed, or several that train in lockstep.
        out: the run folder; None is ``runs/<task>/<method>/<seeds>``, and with another agent than the default one
            ``runs/<task>/<method>-<agent>/<seeds>``.
        max_steps: steps after which an episode is cut; None takes those of the task or of the environment.
        latents: which latents of the encoder are used: their names, or a mapping with ``only``, ``without`` and
            ``junk``; see :class:`~latent_reward.encoder.selection.Selection`.
        feedback: what learners are told where that is not the return of each episode: a mapping with ``every``,
            ``threshold``, ``return_noise`` and ``observation_noise``; see
            :class:`~latent_reward.data.feedback.Feedback`.
        drop_unfinished: see :func:`resume`; only read where a stopped run goes on.
        quiet: print nothing.
        on_episode: called with an :class:`~latent_reward.training.callbacks.EpisodeEnd` after each training episode.
        on_evaluation: called with one :class:`~latent_reward.report.evaluation.Report` per seed and team after each
            evaluation.
        on_checkpoint: called with a :class:`~latent_reward.training.callbacks.Saved` after each checkpoint.
        loggers: get the reports of each evaluation beside the log in the run folder, and are closed at the end. An
            error in one of them or in a callback ends the training; it can be resumed from its last checkpoint.
        settings: fields of the plan and of its experience, such as ``steps`` of an agent that learns from replay or
            ``iterations`` of one that learns from whole episodes, and ``agent``: an agent, its kind (``"sac"``), or a
            mapping of changed hyper-parameters; see :mod:`latent_reward.training.plan`.

    Raises:
        LareError: an argument does not exist or does not fit, or the folder holds another run, or is being trained in;
            nothing is trained then. Or the environment fails or breaks its interface: what was learned is saved then,
            and the same call goes on.
    """
    _require_arguments(quiet, (on_episode, on_evaluation, on_checkpoint), loggers)
    use_compilation_cache()
    prepared = prepare(
        task,
        method,
        encoder=encoder,
        draw=draw,
        seed=seed,
        out=out,
        max_steps=max_steps,
        latents=latents,
        feedback=feedback,
        **settings,
    )
    training, folder, config = prepared.begin(on_episode), prepared.folder, prepared.config
    callbacks = Callbacks(on_evaluation, on_checkpoint, tuple(loggers))
    try:
        with claimed(folder):
            if goes_on(prepared):  # asked again: another process may have trained until now
                _restore(load_run(folder, env=prepared.env), training, drop_unfinished)
            else:
                _create(prepared)
                note(folder, "started", step=0, rounds=config.plan.rounds, versions=_versions())
            _train(folder, config, training, quiet, callbacks)
    finally:
        training.close()
    return load_run(folder, env=prepared.env)


def resume(
    folder: str | Path,
    *,
    steps: int | None = None,
    iterations: int | None = None,
    drop_unfinished: bool = False,
    env: Any = None,
    quiet: bool = False,
    on_episode: OnEpisode | None = None,
    on_evaluation: OnEvaluation | None = None,
    on_checkpoint: OnCheckpoint | None = None,
    loggers: Sequence[Logger] = (),
) -> Run:
    """Continue a run that was stopped, with the same numbers as if it had not been, or extend one.

    An extended run goes on as one that was planned with the larger total: evaluations and checkpoints keep their
    intervals, and what is annealed over the training (PPO's step size and clip) is as far as it would be there.

    Args:
        folder: the folder of the run.
        steps: the new total of environment steps of an agent that learns from replay; None leaves it as it is.
        iterations: the new total of iterations of agents that learn from whole episodes.
        drop_unfinished: begin the unfinished episode of each seed again instead of repeating its steps, for an
            environment that does not repeat itself. The steps of that episode are not learned from.
        env: the environment or the function, of a run that was trained in one.
        quiet: print nothing.
        on_episode: as for :func:`train`, and so are the other callbacks and ``loggers``.
        on_evaluation: see there.
        on_checkpoint: see there.
        loggers: see there.

    Raises:
        LareError: the folder holds no run or is being trained in, its checkpoint is missing or damaged, ``config.json``
            was changed, ``env`` is missing, the environment does not repeat the unfinished episode or fails, or the new
            total is smaller.
    """
    _require_arguments(quiet, (on_episode, on_evaluation, on_checkpoint), loggers)
    run = load_run(folder, env=env)
    config = extended(run.config, steps, iterations)
    if not (run.folder / CHECKPOINT).exists():
        raise LareError(
            f"checkpoint: {run.folder / CHECKPOINT} does not exist; the run stopped before its first checkpoint, so "
            "start it again with the command that began it"
        )
    training = make_training(config, run.world, run.encoders, on_episode)
    try:
        with claimed(run.folder):
            _restore(run, training, drop_unfinished)
            if config != run.config:
                _extend(run, config, training.step)
            callbacks = Callbacks(on_evaluation, on_checkpoint, tuple(loggers))
            _train(run.folder, config, training, quiet, callbacks)
    finally:
        training.close()
    return load_run(folder, env=env)


def _restore(run: Run, training: Training, drop_unfinished: bool) -> None:
    """Go on from the checkpoint of a run, which may have been written before the run was extended."""
    path, config, before = run.folder / CHECKPOINT, run.config, lengths(run.folder)
    saved = saved_rounds(path)
    if saved in before:
        config = replace(config, plan=replace(config.plan, rounds=saved))
    training.restore(path, config.to_json(), drop_unfinished=drop_unfinished)
    dropped = {"dropped_unfinished": True} if drop_unfinished else {}
    note(
        run.folder,
        "resumed",
        step=training.step,
        rounds=run.config.plan.rounds,
        versions=_versions(),
        **dropped,
    )


def _extend(run: Run, config: RunConfig, step: int) -> None:
    """Make a run longer. A kill between any two lines leaves a run that can be resumed, or extended again."""
    rounds = run.config.plan.rounds, config.plan.rounds
    note(run.folder, "extended", step=step, before=rounds[0], rounds=rounds[1])
    _write_config(run.folder, config)


def _require_arguments(quiet: Any, functions: tuple[Any, Any, Any], loggers: Any) -> None:
    """Raise if what is called on the way, hours from now, cannot be called."""
    require_flags(quiet=quiet)
    require_functions(**dict(zip(("on_episode", "on_evaluation", "on_checkpoint"), functions, strict=True)))
    if isinstance(loggers, str) or not isinstance(loggers, Sequence):
        raise LareError(f"loggers: {shown(loggers)} is no list; give a list of loggers")
    for each in loggers:
        if not isinstance(each, Logger):
            raise LareError(f"loggers: {shown(each)} is no logger; give objects with write and close")


def _create(prepared: Prepared) -> None:
    """Lay out a new run folder."""
    folder, task = prepared.folder, prepared.task
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fields = pydantic.TypeAdapter(type(task)).dump_python(task, mode="json")
        write_text(folder / "task.yaml", to_yaml(fields))
        for encoder, place in zip(prepared.encoders, encoder_folders(folder / "encoder", task), strict=True):
            if encoder is not None:
                save(encoder, place)
        _write_config(folder, prepared.config)
    except OSError as error:
        raise LareError(
            f"out: cannot write the run folder {folder}: {error}; choose another with --out"
        ) from error


def _write_config(folder: Path, config: RunConfig) -> None:
    stored = {"format": FORMAT, "config": config, "versions": _versions()}
    with disk_errors(f"out: cannot write {folder / CONFIG}", "make the run folder writable"):
        write_text(folder / CONFIG, to_json(stored, indent=1) + "\n")


def _versions() -> dict[str, str]:
    """Versions of Python and of the packages that shape the numbers, as far as they are installed."""
    versions = {"python": platform.python_version()}
    for name in ("latent-reward", "jax", "gymnasium", "mujoco", "numpy"):
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def _train(folder: Path, config: RunConfig, training: Training, quiet: bool, callbacks: Callbacks) -> None:
    """Train to the last step, logging and saving on the way.

    Ctrl-C saves before it stops, and so does an environment that fails.
    """
    plan = config.plan
    steps, evaluate_every, checkpoint_every = (
        training.steps_per_round * rounds
        for rounds in (plan.rounds, plan.evaluate_every, plan.checkpoint_every)
    )
    drawing = can_draw()

    def save() -> None:
        training.save(folder / CHECKPOINT, config.to_json())
        if drawing:
            draw_run(folder, config.task, config.method.name)
        if callbacks.on_checkpoint:
            callbacks.on_checkpoint(Saved(folder / CHECKPOINT, training.step))

    def report() -> None:
        reports = training.evaluate()
        for logger in loggers:
            logger.write(reports)
        progress.show(reports)
        if callbacks.on_evaluation:
            callbacks.on_evaluation(reports)

    def due() -> bool:
        return training.step == steps or training.step % evaluate_every == 0

    with (
        ExitStack() as stack,
        Progress(training.step, steps, quiet) as progress,
        Interrupt() as interrupt,
    ):
        others = [stack.enter_context(closing(each)) for each in callbacks.loggers]
        loggers = [stack.enter_context(closing(Log(folder, training.step))), *others]
        told = f", {config.ablations}" if config.ablations else ""
        progress.say(
            f"{config.task}: {steps:,} steps, method {config.method.name}, encoder {config.encoder or 'none'}, "
            f"seeds {spell_seeds(config.seeds)}{told}, into {folder}; Ctrl-C saves and stops"
        )
        if not drawing:
            progress.say(
                'no learning curve is drawn without matplotlib; run `pip install "latent-reward[plot]"`'
            )
        stack.enter_context(_saved_at_failure(folder, plan.rounds, training, save))
        if training.step and due() and not evaluated(folder, training.step):
            report()  # the environment had failed in this evaluation
        while training.step < steps:
            ahead = (training.step // every * every + every for every in (evaluate_every, checkpoint_every))
            training.advance(min(steps, *ahead))
            progress.step(training.step)
            last = training.step == steps
            if due():
                report()
            if last or interrupt.asked or training.step % checkpoint_every == 0:
                save()
            if interrupt.asked and not last:
                note(folder, "stopped", step=training.step, rounds=plan.rounds)
                progress.say(
                    f"stopped and saved at step {training.step:,}: continue with "
                    f"`lare train --resume {folder}{import_options()}`"
                )
                raise KeyboardInterrupt
        note(folder, "finished", step=training.step, rounds=plan.rounds)


@contextmanager
def _saved_at_failure(
    folder: Path, rounds: int, training: Training, save: Callable[[], None]
) -> Iterator[None]:
    """Save if an environment fails inside the block, or if it is interrupted there, and say how to go on.

    Raises:
        LareError: on one line, what the environment did and where, and that the run can go on.
    """
    try:
        yield
    except BrokenEnvironmentError as error:
        save()
        note(folder, "failed", step=training.step, rounds=rounds, reason=error.message)
        raise LareError(
            f"{error.message}; {error.remedy}. Everything learned is saved at step {training.step:,}: the same "
            f"command, or `lare train --resume {folder}{import_options()}`, goes on"
        ) from error
    except InterruptedEnvironment:
        save()
        note(folder, "stopped", step=training.step, rounds=rounds)
        raise
