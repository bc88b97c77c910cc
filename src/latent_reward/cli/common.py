"""The console, and the names of arguments in the help, shared by all commands."""

from pathlib import Path
from typing import Annotated

from rich.console import Console
from tyro.conf import arg

screen = Console(highlight=False, soft_wrap=True)

TaskName = Annotated[str, arg(metavar="TASK")]
RunFolder = Annotated[Path, arg(metavar="RUN")]
