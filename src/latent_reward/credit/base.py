"""What every method of credit assignment is: a frozen recipe of settings, and pure functions of its state.

A method sees finished episodes and turns each into a reward per step and agent. It knows nothing of environments,
agents or training loops. To add one, write a file with a frozen dataclass that has the members of :class:`Method`, and
give it a line in :mod:`latent_reward.credit.methods`.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from jaxtyping import Array, Bool, Float

from latent_reward.data.buffer import Buffer
from latent_reward.data.episodes import Episodes
from latent_reward.encoder.encoder import Encoder
from latent_reward.types import EpisodeFeatures, Key, Scalar

Metrics = dict[str, Scalar]
Share = Literal["each", "mean"]
"""Whether each agent of a team gets a reward of its own, or all of them their mean."""


@dataclass(frozen=True)
class CreditSpec:
    """Where a method works: the sizes of one team's task, and the encoder if the method reads latents.

    Attributes:
        observation_size: numbers per observation of an agent.
        action_size: numbers per action, one per choice where actions are discrete.
        agents: agents of the team.
        horizon: longest episode.
        encoder: φ; None for methods without latents.
    """

    observation_size: int
    action_size: int
    agents: int
    horizon: int
    encoder: Encoder | None = None


@runtime_checkable
class Method(Protocol):
    """A way to assign credit; instances are frozen and hashable, so they are static in compiled programs.

    A final class names this protocol as its base and overrides what differs; the defaults are those of a method with
    nothing to learn.
    """

    @property
    def latents(self) -> Literal["none", "any", "one"]:
        """Whether the method reads an encoder's latents, and if it must have exactly one."""
        return "none"

    @property
    def reads(self) -> Literal["step", "episode"]:
        """What ``reward`` needs to see: loose rows, or whole episodes."""
        return "step"

    @property
    def reference(self) -> bool:
        """Whether ``features`` reads the hidden rewards, which are not known outside of experiments."""
        return False

    @property
    def needs_step_rewards(self) -> bool:
        """Whether the hidden rewards of single steps are needed, not only their sum."""
        return False

    @property
    def learns(self) -> bool:
        """Whether returns teach the method anything."""
        return False

    @property
    def told(self) -> bool:
        """Whether rewards are made of the return of their own episode, so that their sum predicts nothing."""
        return False

    @property
    def stepwise(self) -> bool:
        """Whether the reward of a step can be told from the step alone."""
        return self.reads == "step" and not self.reference and not self.told

    @property
    def best_episodes(self) -> int:
        """From how many of the best stored episodes half of each batch from replay is drawn; 0: none."""
        return 0

    @property
    def draws(self) -> bool:
        """Whether its updates read stored episodes, so that these must be kept: whether it has a ``draw``."""
        return type(self).draw is not Method.draw

    def refusal(self, spec: CreditSpec) -> str:
        """Why the method cannot work there, after its name, and the remedy; empty if it can.

        This is asked before anything runs. The encoder of ``spec`` is not known yet.
        """
        return ""

    def init(self, spec: CreditSpec, key: Key) -> Any:
        """A fresh state: a pytree of arrays, or None."""

    def feature_size(self, spec: CreditSpec) -> int:
        """Numbers per step and agent that ``features`` gives."""
        ...

    def features(
        self, spec: CreditSpec, episodes: Episodes, action: Float[Array, "episode time agent action"]
    ) -> EpisodeFeatures:
        """What the method reads of each step; computed once, when an episode is stored.

        ``action`` has the actions of the episodes as numbers, one per choice where they are discrete.
        """
        ...

    def derived_size(self, spec: CreditSpec) -> int:
        """How many of the features, the last ones, ``derive`` gives; a buffer with the steps does not store them."""
        return 0

    def derive(
        self,
        observation: Float[Array, "*batch agent observation"],
        action: Float[Array, "*batch agent action"],
        next_observation: Float[Array, "*batch agent observation"],
    ) -> Float[Array, "*batch agent feature"]:
        """The last ``derived_size`` features of loose steps."""
        raise AssertionError(f"the features of {type(self).__name__} are stored")

    def observe(self, state: Any, features: EpisodeFeatures, episodes: Episodes) -> Any:
        """The state after episodes ended, before anything is fitted to them. One of length 0 changes nothing."""
        return state

    def draw(self, spec: CreditSpec, key: Key, buffer: Buffer) -> Any:
        """What one update reads of the stored episodes."""

    def update(self, spec: CreditSpec, state: Any, drawn: Any) -> tuple[Any, Metrics]:
        """One step of learning, and its loss as ``decoder_loss``."""
        return state, {}

    def reward(
        self,
        state: Any,
        features: Float[Array, "*batch agent feature"],
        mask: Bool[Array, "*batch agent"],
    ) -> Float[Array, "*batch agent"]:
        """The reward of each step and agent in the environment's units, 0 where the mask is false.

        If the method ``reads`` episodes, the leading axes are ``[episode, time]`` and the episodes are whole.
        """
        ...

    def deviation(
        self,
        state: Any,
        features: Float[Array, "*batch agent feature"],
        mask: Bool[Array, "*batch agent"],
    ) -> Float[Array, "*batch agent"] | None:
        """How uncertain each reward is, as a standard deviation; None from a method that does not know."""
        return None

    def latent_weights(self, spec: CreditSpec, state: Any) -> dict[str, float]:
        """Reward per standard deviation of each latent, the largest first; empty where that is not known."""
        return {}
