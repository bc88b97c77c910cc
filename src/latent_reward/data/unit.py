"""The unit in which rewards are learned: the root mean square of R/L over the first episodes that pay anything.

It is measured once. If it went on growing with the returns, all that is expressed in it would move, and whoever learns
from that would chase a moving target. Multiplying all rewards by a factor multiplies the unit by the same factor, so
what is learned in it stays the same.
"""

import jax.numpy as jnp

from latent_reward.data.episodes import Episodes
from latent_reward.data.moments import Moments, init_moments, merge
from latent_reward.types import Scalar

UNIT_EPISODES = 10  # episodes from which the unit is measured


def init_unit() -> Moments:
    """The moments of R/L before the first episode."""
    return init_moments(1)


def measure_unit(moments: Moments, episodes: Episodes) -> Moments:
    """The moments of R/L with these episodes, if they are among the first; one of length 0 changes nothing."""
    length, returns = episodes.lengths, episodes.returns
    measures = (length > 0) & (returns != 0) & (moments.rows < UNIT_EPISODES)
    return merge(moments, (returns / jnp.maximum(length, 1))[:, None], measures)


def unit_of(moments: Moments) -> Scalar:
    """The unit in the environment's units; 1 before anything was paid."""
    square = (moments.mean**2 + moments.spread / jnp.maximum(moments.rows, 1.0))[0]
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 1.0)
