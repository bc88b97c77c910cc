"""The console, and the names of arguments in the help, shared by all commands."""

from typing import Annotated

from rich.console import Console
from tyro.conf import arg

screen = Console(highlight=False, soft_wrap=True, markup=False)

TaskName = Annotated[str, arg(metavar="TASK")]
