"""Features of a step that are not finite: found where episodes are stored, and told to the user.

A method could not forget such a number again, and the loss that it spoils would be blamed on the environment.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from latent_reward.data.episodes import Episodes
from latent_reward.types import EpisodeFeatures, Scalar

_SHOWN = 8  # numbers of an observation or an action that a message shows


class Broken(NamedTuple):
    """The first number among the features of episodes that is not finite, and its step; ``found`` if there is one."""

    found: Bool[Array, ""]
    episode: Int[Array, ""]
    step: Int[Array, ""]
    agent: Int[Array, ""]
    column: Int[Array, ""]
    value: Scalar
    observation: Float[Array, " observation"]
    action: Float[Array, " action"]
    next_observation: Float[Array, " observation"]


def first_broken(
    features: EpisodeFeatures, episodes: Episodes, action: Float[Array, "episode time agent action"]
) -> Broken:
    """The first feature, in the order of episodes and steps, that is not finite."""
    bad = ~jnp.isfinite(features)
    episode, step, agent, column = jnp.unravel_index(jnp.argmax(bad), bad.shape)
    here = episode, step, agent
    return Broken(
        bad.any(),
        *here,
        column,
        features[*here, column],
        episodes.before[here],
        action[here],
        episodes.after[here],
    )


def earlier(first: Broken, second: Broken) -> Broken:
    """The first one if it is found, else the second."""
    return jax.tree.map(lambda one, other: jnp.where(first.found, one, other), first, second)


def explain(broken: Broken, names: Sequence[str], where: str) -> str:
    """One line on a number that was found: the latent, the place, its inputs and the remedy.

    ``names`` are those of the latents; the features of a view of two observations have each twice.
    """
    given = {
        "observation": broken.observation,
        "action": broken.action,
        "next observation": broken.next_observation,
    }
    for name, values in given.items():
        if not np.isfinite(values).all():
            return (
                f"{where}: the {name} of step {broken.step} is {_shown(values)}; every number must be finite, so "
                "correct the environment"
            )
    column = int(broken.column)
    what = f"the latent {names[column % len(names)]}" if names else f"feature {column}"
    inputs = ", ".join(f"{name} {_shown(values)}" for name, values in given.items())
    return (
        f"{where}: {what} is not finite at step {broken.step} (it is {broken.value} for {inputs}); guard its "
        "divisions, roots, powers and exponentials in the encoder's source and seal it again, or use another encoder"
    )


def _shown(values: Any) -> str:
    shown = np.array2string(np.asarray(values)[:_SHOWN], precision=4, max_line_width=10_000)
    return shown[:-1] + " …]" if len(values) > _SHOWN else shown
