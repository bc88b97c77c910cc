"""The console, and the names of arguments in the help, shared by all commands."""

from collections.abc import Mapping
from typing import Annotated, Any

from rich.console import Console
from tyro.conf import arg

screen = Console(highlight=False, soft_wrap=True, markup=False)

TaskName = Annotated[str, arg(metavar="TASK")]


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
