"""Players: how a trained policy plays whole episodes, to be evaluated or filmed."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from latent_reward.envs.base import HostWorld, ParallelEnv, close
from latent_reward.envs.recorder import Choose, EpisodeArrays, collect
from latent_reward.errors import BrokenEnvironmentError, LareError, named
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
            except Exception as error:  # a stranger's code may fail in any way
                reason = str(error) if isinstance(error, LareError) else f"env: {named(error)}"
                raise BrokenEnvironmentError(
                    f"{reason} (copy {len(self._envs)} of {self.world.name})",
                    "let each copy be made as the first was",
                ) from error
        return collect(self.world, self._envs[: len(resets)], resets, choose, where)

    def film(self, reset: int, choose: Choose) -> tuple[list[Any], float]:
        """The pictures of one episode, before each step and at its end, and how many there are in a second.

        Raises:
            LareError: the environment takes no render mode or draws no pictures.
        """
        try:
            env = self.world.make("rgb_array")
        except TypeError as error:
            reason = " ".join(str(error).split())
            raise LareError(
                f"video: {self.world.name} takes no render_mode ({reason}); choose another environment"
            ) from error
        frames = []
        try:
            collect(self.world, [env], [reset], _watched(choose, lambda: frames.append(env.render())))
            frames.append(env.render())
        finally:
            env.close()
        if any(np.shape(frame)[2:] != (3,) for frame in frames):
            raise LareError(
                f"video: {self.world.name} draws no picture as rgb_array; choose another environment"
            )
        return frames, float(getattr(env, "metadata", {}).get("render_fps", 10))

    def close(self) -> None:
        """Close every copy."""
        for env in self._envs:
            close(env)
        self._envs = []


def _watched(choose: Choose, look: Callable[[], Any]) -> Choose:
    def watched(step: int, observations: tuple[np.ndarray, ...], available: tuple[np.ndarray | None, ...]):
        look()
        return choose(step, observations, available)

    return watched
