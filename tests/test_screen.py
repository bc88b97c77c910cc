"""What comes from outside is printed, and does nothing to the terminal."""

import io

import pytest
from rich.table import Table
from rich.text import Text

from latent_reward.report.screen import Screen

HOSTILE = ("\x1b]0;title\x07", "\x1b[2J", "\x9b31m", "\u202egnp.exe", "\x08\x08ok")


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize(
    "wrap", [str, Text, lambda text: Table(text, box=None)], ids=["text", "Text", "Table"]
)
def test_control_characters_are_replaced_in_whatever_is_printed(text, wrap):
    out = io.StringIO()
    Screen(file=out).print(wrap(f"before {text} after [bold]kept[/bold]"))
    printed = out.getvalue()
    assert not set("\x1b\x07\x08\x9b\u202e") & set(printed)
    assert "before" in printed
    assert "[bold]kept" in printed


def test_its_own_colours_are_kept():
    out = io.StringIO()
    Screen(file=out, force_terminal=True, color_system="standard").print("bold", style="bold")
    assert out.getvalue() == "\x1b[1mbold\x1b[0m\n"
