"""The console, and the names of arguments in the help, shared by all commands."""

from typing import Annotated

from rich.console import Console
from tyro.conf import arg

screen = Console(highlight=False, soft_wrap=True, markup=False)

TaskName = Annotated[str, arg(metavar="TASK")]


def print_weights(weights: dict[str, float]) -> None:
    """Print what each latent is worth, if that is known."""
    if weights:
        words = ", ".join(f"{name} {value:+.3g}" for name, value in weights.items())
        screen.print(f"  reward per standard deviation: {words}")
