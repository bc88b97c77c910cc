"""The console, output for people and for programs, and the names of arguments in the help, shared by all commands."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from rich.table import Table
from tyro.conf import FlagCreatePairsOff, UseAppendAction, arg

from latent_reward.files import to_json
from latent_reward.report.screen import Screen

screen = Screen()

TaskName = Annotated[str, arg(metavar="TASK")]
Imports = UseAppendAction[Annotated[tuple[str, ...], arg(name="import", metavar="MODULE")]]
AsJson = FlagCreatePairsOff[Annotated[bool, arg(name="json")]]
LatentNames = Annotated[str | None, arg(metavar="A,B,…", help_behavior_hint="")]
JunkCount = Annotated[int | None, arg(metavar="N", help_behavior_hint="")]


def selection_of(latents: str | None, without: str | None, junk: int | None) -> dict[str, Any]:
    """What was said about latents, by the names of the fields of a selection."""
    given = {"only": latents, "without": without, "junk": junk}
    return {name: value for name, value in given.items() if value is not None}


def import_named(modules: Sequence[str]) -> None:
    """Import the modules that were given with ``--import``, each of which files may name from then on."""
    from latent_reward.envs.named import allow_import

    for module in modules:
        allow_import(module)


def print_json(value: Any) -> None:
    """Print a value as JSON, for a program to read."""
    print(to_json(value, indent=1))


def print_rows(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Print rows with the same keys as a table, or as a JSON list of objects; a table shows ``_`` as a space."""
    if as_json:
        print_json([dict(row) for row in rows])
        return
    table = Table(*(key.replace("_", " ") for key in rows[0]), box=None)
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    screen.print(table)


def print_weights(weights: dict[str, float]) -> None:
    """Print what each latent is worth, if that is known."""
    if weights:
        words = ", ".join(f"{name} {value:+.3g}" for name, value in weights.items())
        screen.print(f"  reward per standard deviation: {words}")


def print_credit(row: Mapping[str, Any]) -> None:
    """Print what the last evaluation of a training said about its credit."""
    from latent_reward.report.evaluation import credit_summary

    for line in credit_summary(row):
        screen.print(f"  {line}")


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "-"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
