"""Episodes that encoders are scored on, as flat rows; and how many of them are played."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Played(NamedTuple):
    """One episode: its steps as rows [step, feature] in float32, its return, its length and how it was played."""

    observation: np.ndarray
    action: np.ndarray
    next_observation: np.ndarray
    ret: float
    length: int
    behaviour: str


@dataclass(frozen=True)
class Recording:
    """How much is recorded: at most ``episodes``, ``steps`` in all and ``seconds`` of wall clock.

    The first of the three limits that is reached ends the recording; the episode under way is finished.
    """

    episodes: int = 200
    steps: int = 50_000
    seconds: float | int = 60
    seed: int = 0


@dataclass(frozen=True)
class Episodes:
    """Steps as rows, and the return of the episode that each belongs to.

    ``observation``, ``action`` and ``next_observation`` are [step, feature] in float32; ``episode`` [step]
    numbers the episode; ``returns`` and ``lengths`` are [episode].
    """

    observation: np.ndarray
    action: np.ndarray
    next_observation: np.ndarray
    episode: np.ndarray
    returns: np.ndarray
    lengths: np.ndarray
    behaviours: tuple[str, ...] = ()

    def sums(self, values: np.ndarray) -> np.ndarray:
        """The sum of [step, latent] over each episode: [episode, latent] in float64."""
        total = np.zeros((len(self.returns), values.shape[1]))
        np.add.at(total, self.episode, values.astype(np.float64))
        return total

    def sample(self, rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``rows`` steps drawn without replacement (or all there are): observation, action, next observation."""
        generator = np.random.default_rng(seed)
        chosen = np.sort(generator.permutation(len(self.episode))[:rows])
        return self.observation[chosen], self.action[chosen], self.next_observation[chosen]


def record_episodes(play: Callable[[int], Played], recording: Recording, stop: threading.Event) -> Episodes:
    """Play episodes by their numbers until a limit is reached or ``stop`` is set, but at least one."""
    played: list[Played] = []
    rows, end = 0, time.monotonic() + recording.seconds
    for number in range(recording.episodes):
        if number and (rows >= recording.steps or time.monotonic() > end or stop.is_set()):
            break
        played.append(play(number))
        rows += len(played[-1].action)
    observation, action, following, returns, lengths, behaviours = zip(*played, strict=True)
    return Episodes(
        np.concatenate(observation),
        np.concatenate(action),
        np.concatenate(following),
        np.repeat(np.arange(len(played)), [len(rows) for rows in action]),
        np.array(returns, float),
        np.array(lengths),
        behaviours,
    )
