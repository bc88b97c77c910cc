"""``lare encoders show``: one encoder on one screen."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text
from tyro.conf import Positional, arg

from latent_reward.cli.common import screen
from latent_reward.errors import LareError


def show(encoder: Positional[Annotated[str, arg(metavar="ENCODER")]], *, draw: int = 0) -> None:
    """Print an encoder: goal, latents with their explanations, source, score, checks, where it came from.

    Args:
        encoder: the folder of an encoder, or a task with bundled ones (`lare encoders`).
        draw: which of the task's bundled encoders.
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
    from latent_reward.task.load import load_description

    yield "task", f"{card.task} ({card.env_id})" if card.env_id not in ("", card.task) else card.task
    try:  # in full if the task is a built-in one
        goals: dict = load_description(card.task).goal
        yield "goal", f"({card.goal}) {' '.join(goals[card.goal].split())}"
    except (LareError, KeyError):
        if card.goal:
            yield "goal", f"the wording {card.goal!r} of the task"
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
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):  # if the folder keeps the reply
        said = json.loads((folder / "reply.json").read_text("utf-8"))["Analyze"]
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
