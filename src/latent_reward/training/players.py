"""Players: how a trained policy plays whole episodes, to be evaluated or filmed."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from latent_reward.envs.base import HostWorld, ParallelEnv, close
from latent_reward.envs.recorder import Choose, EpisodeArrays, collect
from latent_reward.errors import ANY_FAILURE, BrokenEnvironmentError, LareError, named, one_line
from latent_reward.report.video import frame_rate, picture_mode, render_errors
from latent_reward.training.learner import State

Results = tuple[tuple[np.ndarray, np.ndarray | None], ...]
"""For each team its returns ``[seed, episode]``, and whether it won; None where nothing is won."""


@runtime_checkable
class Player(Protocol):
    """Plays with the policies of every seed; the same call plays the same episodes."""

    def evaluate(self, states: tuple[State, ...], episodes: int, *, final: bool = False) -> Results:
        """Results of whole episodes; those of a ``final`` evaluation are others than those while training."""
        ...

    def frames(self, states: tuple[State, ...], seed: int) -> tuple[list[Any], float]:
        """Pictures of one episode of the seed at this position, and how many there are in a second."""
        ...

    def close(self) -> None:
        """Close the environments that were opened."""
        ...


class Copies:
    """Copies of an environment on the host, made when they are first needed."""

    def __init__(self, world: HostWorld):
        """Nothing is open yet."""
        self.world = world
        self._envs: list[ParallelEnv] = []

    def play(
        self,
        resets: Sequence[int],
        choose: Choose,
        where: Callable[[int], str] = lambda copy: "of an episode",
    ) -> tuple[EpisodeArrays, ...]:
        """One episode in each of as many copies as there are ``resets``, their seeds; ``where`` names each in errors.

        Raises:
            BrokenEnvironmentError: a copy cannot be made, raises an error or breaks its interface.
        """
        while len(self._envs) < len(resets):
            try:
                self._envs.append(self.world.make(None))
            except ANY_FAILURE as error:  # a stranger's code may fail in any way
                reason = str(error) if isinstance(error, LareError) else f"env: {named(error)}"
                raise BrokenEnvironmentError(
                    f"{reason} (copy {len(self._envs)} of {self.world.name})",
                    "let each copy be made as the first was",
                ) from error
        return collect(self.world, self._envs[: len(resets)], resets, choose, where)

    def film(self, reset: int, choose: Choose) -> tuple[list[Any], float]:
        """The pictures of one episode, before each step and at its end, and how many there are in a second.

        Raises:
            LareError: the environment offers no pictures, or fails in drawing them.
        """
        probe = self.world.make(None)
        metadata = dict(getattr(probe, "metadata", None) or {})
        probe.close()
        name, modes = self.world.name, metadata.get("render_modes")
        what = name if modes else f"{name}, which names no render_modes in its metadata,"
        env = self._drawing(picture_mode(name, modes))
        drawn: list[Any] = []

        def look() -> None:
            with render_errors(what):
                drawn.extend(_pictures(env.render()))

        try:
            rate = frame_rate(metadata.get("render_fps"))
            collect(self.world, [env], [reset], _watched(choose, look))
            look()
        finally:
            env.close()
        return drawn, rate

    def _drawing(self, mode: str) -> ParallelEnv:
        """A copy in a render mode."""
        name = self.world.name
        try:
            with render_errors(name):
                return self.world.make(mode)
        except LareError as error:
            if not isinstance(error.__cause__, TypeError):
                raise
            raise LareError(
                f"video: {name} takes no render_mode ({one_line(error.__cause__)}), so it draws no pictures; choose an "
                "environment that does, or add the render mode rgb_array to this one"
            ) from error

    def close(self) -> None:
        """Close every copy."""
        for env in self._envs:
            close(env)
        self._envs = []


def _pictures(seen: Any) -> list[Any]:
    """What ``render`` returned: one picture, or in a list those since the last call.

    Arrays are copied, because an environment may draw into the same one every time.
    """
    several = isinstance(seen, list | tuple) and not any(isinstance(each, list | tuple) for each in seen)
    return [np.array(each) if hasattr(each, "__array__") else each for each in (seen if several else [seen])]


def _watched(choose: Choose, look: Callable[[], Any]) -> Choose:
    def watched(step: int, observations: tuple[np.ndarray, ...], available: tuple[np.ndarray | None, ...]):
        look()
        return choose(step, observations, available)

    return watched
