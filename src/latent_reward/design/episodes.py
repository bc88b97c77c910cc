"""Episodes that encoders are scored on, as flat rows; and how many of them are played."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from latent_reward.data.episodes import Episodes
from latent_reward.data.spaces import ActionSpace


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
class Recorded:
    """The steps of one team's episodes as rows, and the return of the episode that each belongs to.

    A row is one step of one agent that is there. ``observation``, ``action`` (as numbers) and ``next_observation``
    are [step, feature] in float32; ``episode`` [step] numbers the episode; ``returns`` and ``lengths`` are [episode].
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


def as_rows(parts: Sequence[Episodes], actions: ActionSpace, behaviours: Sequence[str]) -> Recorded:
    """Episodes with NumPy arrays, in their order, as one table."""
    masks = [np.asarray(part.mask) for part in parts]
    rows = [
        np.concatenate([np.asarray(each)[mask] for each, mask in zip(arrays, masks, strict=True)])
        for arrays in zip(
            *((part.observation[:, :-1], part.action, part.observation[:, 1:]) for part in parts), strict=True
        )
    ]
    per_episode = np.concatenate([mask.sum(axis=(1, 2)) for mask in masks])
    return Recorded(
        rows[0].astype(np.float32),
        np.asarray(actions.as_numbers(jnp.asarray(rows[1])), np.float32),
        rows[2].astype(np.float32),
        np.repeat(np.arange(len(per_episode)), per_episode),
        np.concatenate([np.asarray(part.returns, float) for part in parts]),
        np.concatenate([mask.any(axis=2).sum(axis=1) for mask in masks]),
        tuple(behaviours),
    )
