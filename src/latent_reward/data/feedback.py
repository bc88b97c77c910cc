"""What learners are told of an episode: its return, or less than that.

These are settings of experiments. They change what credit and agents learn from, and nothing that is measured:
evaluations and the metrics of credit keep the true rewards and observations.
"""

import math
from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

from latent_reward.data.episodes import Episodes, team_return
from latent_reward.data.moments import Moments, deviation, init_moments, merge
from latent_reward.errors import LareError, require_positive, shown
from latent_reward.types import Key

SUCCESS = 100.0  # what a bag is worth whose return passes the threshold


@dataclass(frozen=True)
class Feedback:
    """What learners are told; by default the return of each whole episode.

    A *bag* is a run of consecutive steps of which one number is told, the sum of their rewards (Tang et al. 2024, arXiv
    2402.03771). Credit reads bags as if they were episodes. Only the last bag of an episode can have terminated, and
    the agent's episodes stay whole.

    Attributes:
        every: steps of a bag, the last one of an episode may have fewer; None: the whole episode is one.
        threshold: a bag is told 100 if its sum is above this number, and 0 otherwise; None: the sum itself.
        return_noise: standard deviation of noise on what is told, as a share of the standard deviation of everything
            told before it was added, this episode included.
        observation_noise: standard deviation of noise on every number that is observed while training, as a share of
            the standard deviation of that number in random play.
    """

    every: int | None = None
    threshold: float | None = None
    return_noise: float = 0.0
    observation_noise: float = 0.0

    def __post_init__(self):
        """Raise a :class:`~latent_reward.errors.LareError` for numbers that make no sense."""
        if self.every is not None:
            require_positive(every=self.every)
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise LareError(f"threshold: {self.threshold} is not possible; give a finite number")
        for name in ("return_noise", "observation_noise"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise LareError(f"{name}: {shown(value)} is not possible; give a finite number of at least 0")

    def __str__(self) -> str:
        """What differs from the return of each episode, in words; empty if nothing does."""
        given = ((each.name, getattr(self, each.name), each.default) for each in fields(self))
        return "; ".join(f"{name} {value:g}" for name, value, default in given if value != default)

    def horizon(self, steps: int) -> int:
        """Steps of the longest bag of episodes of at most ``steps``."""
        return min(self.every or steps, steps)

    def bags(self, steps: int) -> int:
        """Bags of an episode of ``steps``."""
        return -(-steps // self.horizon(steps))

    def init(self) -> Moments | None:
        """What is remembered of everything told so far: nothing, unless noise is measured by it."""
        return init_moments(1) if self.return_noise else None

    def tell(
        self, episodes: Episodes, told: Moments | None, key: Key, *, dense: bool = False
    ) -> tuple[Episodes, Moments | None]:
        """The bags of episodes with what is told of each as their return, and the moments of what was told.

        The number of bags is the same for every episode; those after its end have length 0. Where another number than
        the sum is told, hidden rewards are even shares of that. The reference that is told every reward (``dense``) is
        told the truth.
        """
        bags = self._split(episodes)
        if dense or (self.threshold is None and told is None):
            return bags, told
        exists = bags.mask.any(axis=(1, 2))
        returns = bags.returns
        if self.threshold is not None:
            returns = jnp.where(exists & (returns > self.threshold), SUCCESS, 0.0)
        if told is not None:
            told = merge(told, returns[:, None], exists)
            noise = self.return_noise * deviation(told) * jax.random.normal(key, returns.shape)
            returns = jnp.where(exists, returns + noise, 0.0)
        share = returns / jnp.maximum(bags.mask.sum(axis=(1, 2)), 1)
        hidden = jnp.where(bags.mask, share[:, None, None], 0.0)
        return bags._replace(returns=returns, hidden_reward=hidden), told

    def _split(self, episodes: Episodes) -> Episodes:
        """The bags of each episode, one after the other."""
        steps = episodes.mask.shape[1]
        size, count = self.horizon(steps), self.bags(steps)
        if count == 1:
            return episodes

        def split(leaf: Any, frames: int = 0) -> Any:
            """``size`` steps of each bag and as many ``frames`` of the next one; zeros beyond the episode."""
            place = size * jnp.arange(count)[:, None] + jnp.arange(size + frames)
            missing = size * count + frames - leaf.shape[1]
            leaf = jnp.pad(jnp.asarray(leaf), ((0, 0), (0, missing), *((0, 0),) * (leaf.ndim - 2)))
            return leaf[:, place].reshape(-1, size + frames, *leaf.shape[2:])

        mask, hidden = split(episodes.mask), split(episodes.hidden_reward)
        return Episodes(
            split(episodes.observation, 1),
            split(episodes.action),
            mask,
            split(episodes.terminated),
            team_return(hidden, mask),
            hidden,
        )

    def join(
        self, values: Shaped[Array, "bag step *rest"], steps: int
    ) -> Shaped[Array, "episode time *rest"]:
        """What was computed of every step of every bag, as steps of whole episodes."""
        count = self.bags(steps)
        whole = values.reshape(len(values) // count, -1, *values.shape[2:])
        return whole[:, :steps]


EPISODE_RETURNS = Feedback()
"""The problem as it is: the return of each whole episode."""
