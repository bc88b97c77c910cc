"""The features of a step that a decoder reads: the encoder's latents, or the step itself."""

from typing import Literal, Protocol

import jax.numpy as jnp
from jaxtyping import Array, Float

from latent_reward.credit.base import CreditSpec, Method
from latent_reward.data.buffer import Rows
from latent_reward.data.episodes import Episodes
from latent_reward.encoder.view import View, latent_size, latents
from latent_reward.errors import require_choice
from latent_reward.types import EpisodeFeatures

Kind = Literal["latent", "raw", "next"]


def raw_features(
    observation: Float[Array, "*batch observation"],
    action: Float[Array, "*batch action"],
    next_observation: Float[Array, "*batch observation"],
) -> Float[Array, "*batch feature"]:
    """(o, a, o − o′), what return decomposition without latents reads (Ren et al. 2022)."""
    return jnp.concatenate([observation, action, observation - next_observation], axis=-1)


def step_features(
    kind: Kind,
    view: View,
    spec: CreditSpec,
    observation: Float[Array, "*batch observation"],
    action: Float[Array, "*batch action"],
    next_observation: Float[Array, "*batch observation"],
) -> Float[Array, "*batch feature"]:
    """The features of each step: φ in the given ``view`` (``latent``), (o, a, o − o′) (``raw``) or o′ (``next``)."""
    if kind == "raw":
        return raw_features(observation, action, next_observation)
    if kind == "next":
        return next_observation
    assert spec.encoder is not None  # the spec of a method that reads latents has an encoder
    rows = (each.reshape(-1, each.shape[-1]) for each in (observation, action, next_observation))
    encoded = latents(spec.encoder, view, *rows)
    return encoded.reshape(*observation.shape[:-1], encoded.shape[-1])


def feature_size(kind: Kind, view: View, spec: CreditSpec) -> int:
    """Numbers per step that :func:`step_features` gives."""
    if kind == "raw":
        return 2 * spec.observation_size + spec.action_size
    if kind == "next":
        return spec.observation_size
    assert spec.encoder is not None
    return latent_size(spec.encoder, view)


def features_of(method: Method, spec: CreditSpec, rows: Rows) -> Float[Array, "*batch agent feature"]:
    """The features of rows from a buffer: as they were stored, and the last ones derived if it keeps the steps."""
    if rows.observation is None or not method.derived_size(spec):
        assert rows.features is not None
        return rows.features
    assert rows.action is not None
    assert rows.next_observation is not None
    derived = method.derive(rows.observation, rows.action, rows.next_observation)
    return derived if rows.features is None else jnp.concatenate([rows.features, derived], axis=-1)


class NetworkMethod(Method, Protocol):
    """A method with a network that is fitted to returns; ``input`` and ``view`` say what it reads of a step.

    ``input`` is ``latent`` (the encoder's output), ``raw`` (o, a, o − o′) or ``next`` (o′). ``view`` is what the
    encoder reads: the ``current`` observation o, the ``next`` one o′, or ``both``.
    """

    input: Kind
    view: View

    def __post_init__(self):
        """Raise a :class:`~latent_reward.errors.LareError` for a setting that does not exist."""
        require_choice("input", self.input, Kind)
        require_choice("view", self.view, View)

    @property
    def latents(self) -> Literal["none", "any"]:
        """Whether the network reads an encoder's output."""
        return "any" if self.input == "latent" else "none"

    @property
    def learns(self) -> bool:
        """The network is fitted."""
        return True

    def feature_size(self, spec: CreditSpec) -> int:
        """Numbers that the network reads of a step."""
        return feature_size(self.input, self.view, spec)

    def derived_size(self, spec: CreditSpec) -> int:
        """(o, a, o − o′) is three look-ups, of the same length as the step itself."""
        return feature_size(self.input, self.view, spec) if self.input == "raw" else 0

    def features(
        self, spec: CreditSpec, episodes: Episodes, action: Float[Array, "episode time agent action"]
    ) -> EpisodeFeatures:
        """What the network reads of each step and agent."""
        return step_features(self.input, self.view, spec, episodes.before, action, episodes.after)

    def derive(
        self,
        observation: Float[Array, "*batch agent observation"],
        action: Float[Array, "*batch agent action"],
        next_observation: Float[Array, "*batch agent observation"],
    ) -> Float[Array, "*batch agent feature"]:
        """(o, a, o − o′)."""
        return raw_features(observation, action, next_observation)
