"""The commands and their places in the command line ``lare``.

The commands import the slow modules when they are called, so that ``lare --help`` answers at once.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tyro.conf import OmitArgPrefixes
from tyro.extras import SubcommandApp

from latent_reward.cli import bench, credit, design, show, task, train
from latent_reward.cli.folder import named_modules_of
from latent_reward.envs.named import command_line
from latent_reward.errors import LareError
from latent_reward.report.screen import Screen

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
app.command(bench.bench)


def run(words: Sequence[str]) -> None:
    """Run one command; a mistake of the user is printed as one line, and the exit status is 1."""
    if list(words) == ["--version"]:
        from latent_reward import __version__

        print(f"lare {__version__}")
        return
    try:
        with command_line(), named_modules_of(Path.cwd()):
            app.cli(
                args=words,
                prog="lare",
                description="Credit assignment for reinforcement learning from episode returns.",
                config=(OmitArgPrefixes,),
            )
    except LareError as error:
        Screen(stderr=True).print(f"lare: {_on_one_line(str(error))}")
        raise SystemExit(1) from None
    except BrokenPipeError:  # the reader of the output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what Python still writes at its end
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _on_one_line(text: str, most: int = 4000) -> str:
    """A message on one line of at most ``most`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most]}…"
