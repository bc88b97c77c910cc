"""What the commands share: how they print, and how their arguments are called."""

from typing import Annotated

from rich.console import Console
from tyro.conf import arg

screen = Console(highlight=False, soft_wrap=True, markup=False)

TaskName = Annotated[str, arg(metavar="TASK")]
