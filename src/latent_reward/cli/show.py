"""Commands that list and check: ``tasks``, ``methods``, ``encoders list`` and ``check``."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text
from tyro.conf import Positional, arg

from latent_reward.cli.common import AsJson, Imports, import_named, print_json, print_rows, screen
from latent_reward.errors import LareError


def tasks(*, json: AsJson = False) -> None:
    """List the built-in tasks: sizes, time limit, bundled encoders and goal.

    Args:
        json: print the list as JSON.
    """
    from latent_reward.encoder.bundled import bundled_draws
    from latent_reward.task.load import load_task, task_names

    print_rows(
        [
            {
                "task": task.name,
                "observation": task.observation_size,
                "action": task.action_size,
                "steps": task.max_steps,
                "encoders": len(bundled_draws(task.name)),
                "goal": " ".join(task.goal["plain"].split()),
            }
            for name in task_names()
            for task in load_task(name).descriptions
        ],
        json,
    )
    if not json:
        screen.print(
            "\nYou can also give the path of a task file of your own; `lare check MyTask.yaml` says what is missing. "
            "For a method without latents, the id of an installed environment will do."
        )


def methods(*, json: AsJson = False) -> None:
    """List the methods of credit assignment for `lare train --method`.

    Args:
        json: print the list as JSON.
    """
    from latent_reward.credit.methods import METHODS

    print_rows(
        [
            {
                "method": name,
                "one_agent": entry.replay is not None,
                "teams": entry.episodes is not None,
                "what_it_does": entry.summary,
            }
            for name, entry in METHODS.items()
        ],
        json,
    )


def list_encoders(*, json: AsJson = False) -> None:
    """List the bundled encoders with their latents, by task and draw.

    Args:
        json: print the list as JSON.
    """
    from latent_reward.encoder.bundled import bundled_draws, bundled_folder
    from latent_reward.sealing.open import open_encoder
    from latent_reward.task.load import load_task, task_names

    print_rows(
        [
            {"task": name, "draw": draw, "latents": open_encoder(bundled_folder(name, draw)).latent_names}
            for name in (each.name for task in task_names() for each in load_task(task).descriptions)
            for draw in bundled_draws(name)
        ],
        json,
    )


def check(
    file: Positional[Annotated[Path, arg(metavar="FILE")]],
    *,
    task: Annotated[str | None, arg(metavar="TASK")] = None,
    out: Annotated[Path | None, arg(metavar="DIR")] = None,
    imports: Imports = (),
    json: AsJson = False,
) -> None:
    """Check a task file against its environment, and play that; or seal an encoder's source and print every check.

    The environment plays a few episodes of random actions, and every breach of its interface is named with step and
    episode. The exit status is 1 if anything is wrong. A text that gives the reward away is only a warning, and so is
    an environment that does not repeat itself from the same seed.

    Args:
        file: a task file (.yaml), or the source of an encoder (.py).
        task: for a source: the task whose observations and actions it reads.
        out: for a source: write the sealed encoder into this folder, for `lare train --encoder`.
        imports: a module that the task may import, also one of this folder; may be given several times.
        json: print the result as JSON, and nothing else.
    """
    import_named(imports)
    if file.suffix == ".py":
        _check_source(file, task, out, json)
    elif task or out:
        raise LareError(
            f"file: {file} is not a source (.py); --task and --out are for sources only, so leave them out"
        )
    else:
        _check_task(file, json)


def _check_task(file: Path, as_json: bool) -> None:
    from latent_reward.task.check import check_task, play_task
    from latent_reward.task.leakage import leaks
    from latent_reward.task.load import load_task

    problems, warnings = check_task(file), []
    told = ""
    if not problems:
        played = play_task(file)
        problems, warnings = list(played.problems), [*leaks(file), *played.warnings]
        told = f"played {played.episodes} episodes of random actions, {played.steps:,} steps: no breach"
    if as_json:
        print_json({"passed": not problems, "problems": problems, "warnings": warnings})
    for problem in problems if not as_json else ():
        screen.print(str(problem))
    for warning in warnings if not as_json else ():
        screen.print(f"warning: {warning}")
    if problems:
        raise SystemExit(1)
    if as_json:
        return
    for task in load_task(file).descriptions:
        screen.print(
            f"{file}: fits {task.env_id}: {task.observation_size} observations, {task.action_size} actions, "
            f"{task.max_steps} steps"
        )
    screen.print(f"{file}: {told}")


def _check_source(file: Path, name: str | None, out: Path | None, as_json: bool) -> None:
    from latent_reward.encoder.encoder import save
    from latent_reward.sealing import verify
    from latent_reward.task.load import load_description

    if name is None:
        raise LareError("task: a source is checked for a task; add `--task TASK` (`lare tasks` lists them)")
    task = load_description(name)
    try:
        source = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LareError(f"file: cannot read {file}: {error}; give the path of a Python source") from error
    report = verify.check(source, task)
    if report.passed and out is not None:
        save(verify.encoder_of(report, source, task, provenance=f"sealed from {file.name}"), out)
    if as_json:
        sealed = str(out) if report.passed and out is not None else None
        print_json({"passed": report.passed, "checks": report.checks, "sealed": sealed})
    for each in report.checks if not as_json else ():
        screen.print(f"{'passed' if each.passed else 'FAILED'}  {each.name}: {each.detail}")
    if not report.passed:
        raise SystemExit(1)
    if out is not None and not as_json:
        screen.print(f"sealed: {out}; train with `lare train {name} --encoder {out}`")


def show_encoder(
    encoder: Positional[Annotated[str, arg(metavar="ENCODER")]], *, draw: int = 0, json: AsJson = False
) -> None:
    """Print an encoder: goal, latents with their explanations, source, score, checks, where it came from.

    Args:
        encoder: the folder of an encoder, or a task with bundled ones (`lare encoders`).
        draw: which of the task's bundled encoders.
        json: print the card and the source as JSON.
    """
    from latent_reward.encoder.bundled import bundled_folder
    from latent_reward.encoder.card import CARD
    from latent_reward.encoder.encoder import SOURCE
    from latent_reward.sealing.open import open_encoder

    folder = Path(encoder)
    if (folder / CARD).is_file():
        if draw:
            raise LareError(f"draw: {encoder} is one encoder and has no draws; leave --draw out")
    elif folder.is_dir():
        raise LareError(f"encoder: {folder} holds no encoder ({CARD} is missing); give the folder of one")
    else:
        folder = bundled_folder(encoder, draw)
    found = open_encoder(folder)
    card, head = found.card, Table.grid(padding=(0, 2))
    if json:
        print_json({"folder": str(folder), "card": card, "source": found.source})
        return
    for name, text in _facts(card, folder):
        head.add_row(Text(name, "bold"), Text(text))
    screen.print(head, "")
    screen.print(_latents(card))
    screen.print(Text(f"\n{folder / SOURCE}", "bold"))
    screen.print(Syntax(found.source.strip(), "python", theme="ansi_dark", background_color="default"))
    screen.print(Text("\nchecks", "bold"))
    for name, detail in card.checks:
        screen.print(f"passed  {name}: {detail}")
    for warning in (*card.warnings, *card.score.get("warnings", ()), *card.hygiene):
        screen.print(f"warning: {warning}")


def _facts(card: Any, folder: Path) -> Iterator[tuple[str, str]]:
    """What is known of an encoder, by name; nothing for what is not."""
    from latent_reward.reading import parse_json, read_text
    from latent_reward.task.load import load_description, task_names

    yield "task", f"{card.task} ({card.env_id})" if card.env_id not in ("", card.task) else card.task
    try:  # in full if the task is a built-in one; no other file is opened for a card
        if card.task.partition("/")[0] not in task_names():
            raise KeyError(card.task)
        goals: dict = load_description(card.task).goal
        yield "goal", f"({card.goal}) {' '.join(goals[card.goal].split())}"
    except (LareError, KeyError):
        if card.goal:
            yield "goal", f"the wording {card.goal!r} of the task"
    if card.anonymous:
        yield "fields", "shuffled and renamed for the model; indices in the source are those that it saw"
    if str(card.selection):
        yield "selection", f"{card.selection} ({', '.join(card.selection.names(card.latent_names))} are used)"
    reads = ", ".join(card.arguments)
    yield "reads", f"{reads}: {card.observation_size} observation fields, {card.action_size} action fields"
    author = ", ".join(filter(None, (card.provenance, f"model {card.model}" if card.model else "")))
    yield "provenance", author or "unknown"
    if card.draw is not None:
        yield "draw", str(card.draw)
    yield "sealed", ", ".join(filter(None, (card.created, _pairs(card.versions))))
    for name, figures in (("protocol", card.protocol), ("usage", card.usage), ("score", card.score)):
        if figures:
            yield name, _pairs(figures)
    with contextlib.suppress(LareError, TypeError, KeyError):  # if the folder keeps the reply
        said = parse_json(read_text(folder / "reply.json"), "reply", "leave it")["Analyze"]
        if said:
            yield "analysis", " ".join(str(said).split())


def _latents(card: Any) -> Table:
    """One row per latent: name, explanation, and the figures that its score has for it."""
    scored = {each["name"]: each for each in card.score.get("latents", ())}
    figures = dict.fromkeys(key for each in scored.values() for key in each if key != "name")
    table = Table("latent", *figures, "what the model says of it", box=None)
    for name, explanation in zip(card.latent_names, card.explanations, strict=True):
        row = (_spell(scored.get(name, {}).get(key)) for key in figures)
        table.add_row(name, *row, explanation or "-")
    return table


def _pairs(figures: dict[str, Any]) -> str:
    plain = {name: value for name, value in figures.items() if not isinstance(value, dict)}
    return ", ".join(
        f"{name} {_spell(value)}" for name, value in plain.items() if name not in ("latents", "warnings")
    )


def _spell(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_spell, value)) or "none"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else str(value)
