"""The command line ``lare``: one function per command, one line per mistake.

The functions are in the modules of this package; this file gives each its place in the command line. They import
the slow modules when they are called, so that ``lare --help`` answers at once.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from tyro.conf import OmitArgPrefixes
from tyro.extras import SubcommandApp

from latent_reward.cli import credit, design, show, task, train
from latent_reward.errors import LareError

app = SubcommandApp()
app.command(show.tasks)
app.command(show.methods)
encoders = app.command(
    SubcommandApp(), name="encoders", help="List the encoders that come with the package, or show one."
)
encoders.command(name="list", is_default=True)(show.list_encoders)
encoders.command(name="show")(show.show_encoder)
tasks = app.command(SubcommandApp(), name="task", help="Describe an environment of your own.")
tasks.command(task.init)
app.command(show.check)
app.command(design.design)
app.command(train.train)
app.command(train.evaluate)
app.command(credit.credit)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``lare``."""
    words = list(sys.argv[1:] if argv is None else argv)
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # `env: module:Id-v0` finds a module of this folder
    if words == ["--version"]:
        from latent_reward import __version__

        print(f"lare {__version__}")
        return
    try:
        app.cli(
            args=words,
            prog="lare",
            description="Credit assignment for reinforcement learning from episode returns.",
            config=(OmitArgPrefixes,),
        )
    except LareError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"lare: {error}", markup=False)
        raise SystemExit(1) from None
    except BrokenPipeError:  # the reader of the output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what Python still writes at its end
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
