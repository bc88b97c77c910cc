"""Policies: the numbers that a network gives for an observation as a distribution of actions.

A vector of actions is bounded. It is tanh of any numbers z, stretched over the range: a = middle + half_width · tanh z.
Densities and entropies are those of tanh z, in units in which the range is from −1 to 1, so that neither depends on
what an environment calls its actions.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from latent_reward.data.moments import inverse
from latent_reward.data.spaces import ActionSpace, Continuous
from latent_reward.errors import LareError
from latent_reward.networks import MLP
from latent_reward.types import Key

_NEVER = -1e9  # the logit of an action that is not available: its probability is exactly 0
_EDGE = 1.0 - 1e-6  # tanh z of an action at the edge of its range, where z itself is lost to rounding
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(16)  # of a mean over N(0, 1)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


class ActionRange(NamedTuple):
    """The box of actions: a = middle + half_width · u, u ∈ [−1, 1]."""

    low: Float[Array, " action"]
    high: Float[Array, " action"]
    middle: Float[Array, " action"]
    half_width: Float[Array, " action"]

    def squash(self, pushed: Float[Array, "*batch action"]) -> Float[Array, "*batch action"]:
        """An action inside the range from any number: middle + half_width · tanh."""
        return jnp.clip(self.middle + self.half_width * jnp.tanh(pushed), self.low, self.high)

    def unsquash(self, action: Float[Array, "*batch action"]) -> Float[Array, "*batch action"]:
        """The number that ``squash`` makes the action of; of one at the edge, the largest that counts."""
        unit = (action - self.middle) * inverse(self.half_width)
        return jnp.arctanh(jnp.clip(unit, -_EDGE, _EDGE))

    def disturb(
        self, action: Float[Array, "*batch action"], noise: Float[Array, "*batch action"]
    ) -> Float[Array, "*batch action"]:
        """``action`` plus ``noise`` in units of the half-width, clipped to the range."""
        return jnp.clip(action + noise * self.half_width, self.low, self.high)


def action_range(actions: ActionSpace, agent: str = "this agent") -> ActionRange:
    """The range of continuous actions; ``agent`` is what needs them, for the message.

    Raises:
        LareError: the actions are not continuous.
    """
    if not isinstance(actions, Continuous):
        raise LareError(f"agent: {agent} needs continuous actions, and these are discrete; use PPO")
    low, high = (np.asarray(bound, np.float64) for bound in (actions.low, actions.high))
    return ActionRange(
        *(jnp.asarray(each, jnp.float32) for each in (low, high, (low + high) / 2, (high - low) / 2))
    )


class Categorical(NamedTuple):
    """A choice: log π(·|o) of each action."""

    log_probabilities: Float[Array, "*batch action"]

    def sample(self, key: Key) -> Int[Array, "*batch"]:
        """An action drawn from π."""
        return jax.random.categorical(key, self.log_probabilities)

    def best(self) -> Int[Array, "*batch"]:
        """The most probable action."""
        return self.log_probabilities.argmax(axis=-1)

    def log_probability(self, action: Int[Array, "*batch"]) -> Float[Array, "*batch"]:
        """log π(a|o)."""
        # Picked by comparison: with few actions it is several times faster than a gather and its transpose.
        here = jnp.arange(self.log_probabilities.shape[-1]) == action[..., None]
        return jnp.where(here, self.log_probabilities, 0.0).sum(axis=-1)

    def entropy(self) -> Float[Array, "*batch"]:
        """H(π) = −Σ_a π(a|o) log π(a|o)."""
        return -(jnp.exp(self.log_probabilities) * self.log_probabilities).sum(axis=-1)


class SquashedGaussian(NamedTuple):
    """A vector whose z are independent Gaussians (Haarnoja et al. 2018, arXiv 1801.01290, appendix C)."""

    range: ActionRange
    mean: Float[Array, "*batch action"]
    log_deviation: Float[Array, "*batch action"]

    def sample(self, key: Key) -> Float[Array, "*batch action"]:
        """An action drawn from π."""
        return self.draw(jax.random.normal(key, self.mean.shape))[0]

    def best(self) -> Float[Array, "*batch action"]:
        """The action of the means."""
        return self.range.squash(self.mean)

    def log_probability(self, action: Float[Array, "*batch action"]) -> Float[Array, "*batch"]:
        """log π(a|o) of an action in the environment's units."""
        pushed = self.range.unsquash(action)
        return self._log_density(pushed, (pushed - self.mean) * jnp.exp(-self.log_deviation))

    def draw(
        self, noise: Float[Array, "*batch action"]
    ) -> tuple[Float[Array, "*batch action"], Float[Array, "*batch"]]:
        """The action of z = mean + deviation · ``noise``, and log π(a|o); both are differentiable."""
        pushed = self.mean + jnp.exp(self.log_deviation) * noise
        return self.range.squash(pushed), self._log_density(pushed, noise)

    def entropy(self) -> Float[Array, "*batch"]:
        """H(π) = Σ (log σ + ½ log 2πe + E[log(1 − tanh² z)]), the mean by Gauss–Hermite quadrature."""
        pushed = self.mean[..., None] + jnp.exp(self.log_deviation)[..., None] * jnp.asarray(
            _NODES, jnp.float32
        )
        gained = log_slope(pushed) @ jnp.asarray(_WEIGHTS, jnp.float32)
        return (self.log_deviation + 0.5 * np.log(2 * np.pi * np.e) + gained).sum(axis=-1)

    def _log_density(
        self, pushed: Float[Array, "*batch action"], noise: Float[Array, "*batch action"]
    ) -> Float[Array, "*batch"]:
        """log N(z; mean, deviation²) − log |d tanh z / dz|, summed over the action."""
        gaussian = -0.5 * (noise**2 + np.log(2 * np.pi)) - self.log_deviation
        return (gaussian - log_slope(pushed)).sum(axis=-1)


def log_slope(pushed: Float[Array, "*any"]) -> Float[Array, "*any"]:
    """log(1 − tanh² z), also where tanh z is 1 in single precision."""
    return 2.0 * (np.log(2.0) - pushed - jax.nn.softplus(-2.0 * pushed))


class GaussianMLP(NamedTuple):
    """A network of means, and deviations that are the same for every observation."""

    mean: MLP
    log_deviation: Float[Array, " action"]

    def __call__(self, observation: Float[Array, "*batch observation"]) -> Float[Array, "*batch output"]:
        """Mean and log deviation of each number of an action, side by side."""
        mean = self.mean(observation)
        return jnp.concatenate([mean, jnp.broadcast_to(self.log_deviation, mean.shape)], axis=-1)


def policy_of(
    actions: ActionSpace,
    output: Float[Array, "*batch output"],
    available: Bool[Array, "*batch action"] | None = None,
) -> Categorical | SquashedGaussian:
    """The distribution of actions from what a network gives: logits, or means and log deviations side by side.

    ``available`` are the choices that there are; None: all of them.
    """
    if isinstance(actions, Continuous):
        mean, log_deviation = jnp.split(output, 2, axis=-1)
        return SquashedGaussian(action_range(actions), mean, log_deviation)
    if available is not None:
        output = jnp.where(available, output, _NEVER)
    return Categorical(jax.nn.log_softmax(output))
