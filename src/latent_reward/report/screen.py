"""A terminal to which no text from outside can do anything."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from latent_reward.files import printable


class Screen(Console):
    """A console that replaces the control characters in whatever it prints; its own colours and bars are kept.

    Names, messages and sources come from files, environments and servers; :func:`latent_reward.files.printable` says
    which characters are meant.
    """

    def __init__(self, **options):
        """A console without markup, for text that wraps in the terminal; ``options`` are those of ``Console``."""
        super().__init__(highlight=False, soft_wrap=True, markup=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The pieces that a renderable consists of, each with printable text."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)
