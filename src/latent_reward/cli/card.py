"""``lare encoders show``: one encoder on one screen."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from rich.markup import escape
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text
from tyro.conf import Positional, arg

from latent_reward.cli.common import screen
from latent_reward.encoder.card import CARD, Card
from latent_reward.errors import LareError


def show(
    encoder: Positional[Annotated[str, arg(metavar="ENCODER")]],
    *,
    draw: int = 0,
) -> None:
    """Print an encoder: goal, latents with their explanations, source, score, checks and provenance.

    Args:
        encoder: the folder of an encoder, or a task with bundled ones (`lare encoders`).
        draw: which of the task's bundled encoders.
    """
    from latent_reward.encoder.bundled import bundled_folder
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
    for name, text in (*_facts(card), *_analysis(folder)):
        head.add_row(Text(name, "bold"), Text(text))
    screen.print(head, "")
    screen.print(_latents(card))
    screen.print(Text(f"\n{folder / SOURCE}", "bold"))
    screen.print(Syntax(found.source.strip(), "python", theme="ansi_dark", background_color="default"))
    screen.print("\n[bold]checks[/]")
    for name, detail in card.checks:
        screen.print(f"passed  {name}: {detail}", markup=False)
    for warning in (*card.warnings, *card.score.get("warnings", ()), *card.hygiene):
        screen.print(f"warning: {warning}", markup=False)


def _facts(card: Card) -> Iterator[tuple[str, str]]:
    """The known facts about an encoder, by name."""
    yield "task", f"{card.task} ({card.env_id})" if card.env_id not in ("", card.task) else card.task
    goal = _goal(card)
    if goal:
        yield "goal", goal
    if card.anonymous:
        yield "fields", "shuffled and renamed for the model; indices in the source are those that it saw"
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


def _analysis(folder: Path) -> Iterator[tuple[str, str]]:
    """The analysis in the reply, if the folder has the reply."""
    try:
        said = json.loads((folder / "reply.json").read_text("utf-8"))["Analyze"]
    except (OSError, ValueError, TypeError, KeyError):
        return
    if said:
        yield "analysis", " ".join(str(said).split())


def _goal(card: Card) -> str:
    """The goal that the model read, in full if the task is a built-in one."""
    from latent_reward.task.load import load_description

    try:
        text = " ".join(load_description(card.task).goal[card.goal].split())  # pyright: ignore[reportArgumentType]
    except (LareError, KeyError):
        return card.goal and f"the wording {card.goal!r} of the task"
    return f"({card.goal}) {text}"


def _latents(card: Card) -> Table:
    """One row per latent: name, figures of its score, explanation."""
    scored = {each["name"]: each for each in card.score.get("latents", ())}
    figures = dict.fromkeys(key for each in scored.values() for key in each if key != "name")
    table = Table("latent", *figures, "what the model says of it", box=None)
    for name, explanation in zip(card.latent_names, card.explanations, strict=True):
        row = (_spell(scored.get(name, {}).get(key)) for key in figures)
        table.add_row(*map(escape, (name, *row, explanation or "-")))
    return table


def _pairs(figures: dict[str, Any]) -> str:
    plain = {
        name: value
        for name, value in figures.items()
        if not isinstance(value, dict) and name not in ("latents", "warnings")
    }
    return ", ".join(f"{name} {_spell(value)}" for name, value in plain.items())


def _spell(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_spell, value)) or "none"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else str(value)
