"""Ctrl-C and SIGTERM, handled only between two steps, where a run can be saved consistently."""

import signal
import threading


class Interrupt:
    """A context in which the first SIGINT or SIGTERM sets ``asked``; a second one stops at once.

    Outside the main thread, where Python delivers no signals, nothing changes.
    """

    def __init__(self):
        """No signal has arrived yet."""
        self.asked = False
        self._before: dict = {}

    def __enter__(self) -> "Interrupt":
        """Install the handlers."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_) -> None:
        """Restore the former handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, *_) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
