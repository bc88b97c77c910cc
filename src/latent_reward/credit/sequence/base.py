"""What a network is that reads whole episodes: a frozen recipe, and pure functions of its parameters."""

from typing import Any, Protocol

from latent_reward.types import AgentMask, EpisodeFeatures, EpisodeRewards, Key, Returns, Scalar


class EpisodeNetwork(Protocol):
    """Settings of a network over ``[episode, time, agent, feature]``; all rewards and returns are in measured units.

    Features are 0 where the mask is false.
    """

    @property
    def told(self) -> bool:
        """Whether ``credit`` needs the return of the episode."""
        return False

    def init(self, key: Key, *, size: int, horizon: int, agents: int) -> Any:
        """Fresh parameters for ``size`` features of each step and agent."""
        ...

    def loss(
        self, network: Any, features: EpisodeFeatures, mask: AgentMask, returns: Returns, key: Key
    ) -> Scalar:
        """What is minimised; ``key`` is for networks that are fitted with random parts."""
        ...

    def credit(
        self, network: Any, features: EpisodeFeatures, mask: AgentMask, returns: Returns | None
    ) -> EpisodeRewards:
        """The reward of every step and agent, 0 where the mask is false. Nothing in it is random."""
        ...
