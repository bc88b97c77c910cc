"""The command line ``lare``: one function per command, one line per mistake.

The commands are in the modules of this package, and ``app`` gives each its place. Nothing of it is imported before the
current folder has left the import path: a file there that is called as some optional package would run otherwise.
"""

import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``lare``."""
    _leave_current_folder()
    from latent_reward.cli.app import run

    run(list(sys.argv[1:] if argv is None else argv))


def _leave_current_folder() -> None:
    """Take the current folder off the import path, unless it is the one that this package was imported from."""
    current = os.getcwd()
    home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if os.path.realpath(current) != os.path.realpath(home):
        sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) != os.path.realpath(current)]
