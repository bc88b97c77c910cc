"""The unfinished episode of each seed in a checkpoint of training from replay, checked before it is played again."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from latent_reward import checkpoint
from latent_reward.checkpoint import Stored
from latent_reward.credit import metrics
from latent_reward.envs.recorder import EpisodeArrays
from latent_reward.errors import LareError
from latent_reward.reading import Count


class Unfinished(NamedTuple):
    """What one seed had at the checkpoint.

    Attributes:
        episodes: episodes that were finished.
        training_return: the return of the last of them.
        window: sums of the last of them, for the quality.
        action: the actions of the unfinished one, ``[time, agent, …]``.
        observation: what the agents saw after these, ``[agent, observation]``; no rows where the reset had failed.
    """

    episodes: int
    training_return: float
    window: metrics.Sums
    action: np.ndarray
    observation: np.ndarray


def read_unfinished(stored: Stored, seeds: Sequence[int], arrays: EpisodeArrays) -> list[Unfinished]:
    """What a checkpoint has of each seed; ``arrays`` are those that episodes are recorded in.

    Raises:
        LareError: something is missing, of another shape, not finite, or of other seeds.
    """
    nothing = dict.fromkeys(("observation", "action", "window"), 0)
    kept = checkpoint.arrays([nothing] * len(seeds), "slot", stored)
    counted = stored.value("slots", list[tuple[Count, Count, float | None]])
    horizon, *sizes = arrays.action.shape[1:]
    seen = arrays.observation.shape[2:]
    fits = [seed for seed, _, _ in counted] == list(seeds)
    for each in kept:
        action, observation = each["action"], each["observation"]
        fits &= action.dtype == arrays.action.dtype and action.ndim == 1 + len(sizes)
        fits &= list(action.shape[1:]) == sizes and len(action) < max(horizon, 1)
        fits &= observation.dtype == np.float32 and observation.shape in (seen, (0, *seen[1:]))
        fits = fits and bool(np.isfinite(action).all() and np.isfinite(observation).all())
        fits &= metrics.is_window(each["window"])
    if not fits:
        raise LareError(f"checkpoint: {stored.path} is damaged (unfinished episodes); {stored.remedy}")
    return [
        Unfinished(
            episodes, np.nan if last is None else last, each["window"], each["action"], each["observation"]
        )
        for (_, episodes, last), each in zip(counted, kept, strict=True)
    ]


def read_begun(stored: Stored, arrays: EpisodeArrays) -> np.ndarray | None:
    """The actions ``[seed, agent, …]`` of a step in which an environment failed; None if none did.

    Raises:
        LareError: they are of another shape or not finite.
    """
    if "begun" not in stored.header:
        return None
    begun = stored.array("begun")
    wanted = arrays.action[:, 0]
    if begun.dtype != wanted.dtype or begun.shape != wanted.shape or not np.isfinite(begun).all():
        raise LareError(
            f"checkpoint: {stored.path} is damaged (actions of an interrupted step); {stored.remedy}"
        )
    return begun
