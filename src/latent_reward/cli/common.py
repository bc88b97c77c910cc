"""What the commands share: how they print, and how their arguments are called."""

from pathlib import Path
from typing import Annotated

from rich.console import Console
from tyro.conf import arg

screen = Console(highlight=False, soft_wrap=True)

TaskName = Annotated[str, arg(metavar="TASK")]
RunFolder = Annotated[Path, arg(metavar="RUN")]
