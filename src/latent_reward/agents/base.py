"""What every agent is: frozen hyper-parameters, and pure functions of its state.

There are two ways to learn. A :class:`ReplayAgent` learns from single transitions drawn from a buffer, an
:class:`EpisodeAgent` from whole episodes that it has just played. Rewards come from outside, so an agent works with
every method of credit assignment. To add one, write a file with a frozen dataclass that has one of the two protocols
as its base, and give it a line in :mod:`latent_reward.agents.registry`.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array, Bool, Float, Num

from latent_reward.agents.policies import GaussianMLP
from latent_reward.data.episodes import Episodes, Played
from latent_reward.data.moments import Moments, merge, standardise
from latent_reward.data.spaces import ActionSpace
from latent_reward.networks import MLP
from latent_reward.types import Actions, EpisodeRewards, Key, Observations, Scalar, Scalars

Metrics = dict[str, Scalar]


@dataclass(frozen=True)
class AgentSpec:
    """What one agent of a team sees and does."""

    observation_size: int
    actions: ActionSpace


class Actor(NamedTuple):
    """What acts: a network, and the moments of the observations by which it reads them; None: as they are."""

    network: MLP | GaussianMLP
    seen: Moments | None

    def __call__(self, observation: Float[Array, "*batch observation"]) -> Float[Array, "*batch output"]:
        """What the network says of each observation."""
        return self.network(read(self.seen, observation))


def read(
    seen: Moments | None, observation: Float[Array, "*batch observation"]
) -> Float[Array, "*batch observation"]:
    """Observations in units of their standard deviation over those that were seen, if there are moments of them."""
    return observation if seen is None else standardise(seen, observation)


def saw(seen: Moments | None, episodes: Episodes) -> Moments | None:
    """The moments of observations after those before every step of these episodes, if there are any."""
    if seen is None:
        return None
    return merge(seen, episodes.before.reshape(-1, episodes.before.shape[-1]), episodes.mask.reshape(-1))


@runtime_checkable
class ReplayAgent(Protocol):
    """An agent that takes one step of learning per transition, on batches of ``[batch]`` rows."""

    policy_delay: int
    """Updates of the critics for each update of the actor."""

    @property
    def learns_from(self) -> Literal["replay"]:
        """Transitions from a buffer."""
        return "replay"

    def init(self, spec: AgentSpec, key: Key) -> Any:
        """Fresh networks."""
        ...

    def observe(self, state: Any, episodes: Episodes) -> Any:
        """The state after episodes ended: what an agent needs to work in units of its own."""
        return state

    def actor(self, state: Any) -> Any:
        """The part of the state that acts."""
        ...

    def act(
        self,
        spec: AgentSpec,
        actor: Any,
        observation: Float[Array, "*batch observation"],
        noise: Float[Array, "*batch action"] | None,
    ) -> Float[Array, "*batch action"]:
        """The action for each observation: with ``noise`` from N(0, 1) to explore, without it the policy's best."""
        ...

    def bootstrap(
        self,
        spec: AgentSpec,
        state: Any,
        next_observation: Float[Array, "*batch observation"],
        terminated: Bool[Array, "*batch"],
        noise: Float[Array, "*batch action"],
    ) -> Float[Array, "*batch"]:
        """What the target of a critic adds to the reward, in the agent's units; ``noise`` is drawn from N(0, 1).

        It may depend on nothing that ``update_critics`` changes but for ``policy_delay`` 1, so that one pass serves
        all updates of the critics until the actor's.
        """
        ...

    def update_critics(
        self, state: Any, observation: Observations, action: Actions, reward: Scalars, later: Scalars
    ) -> tuple[Any, Metrics]:
        """One step of the critics towards ``reward`` plus ``later``, what ``bootstrap`` gave.

        Rewards are in the environment's units. The metrics include ``critic_loss``.
        """
        ...

    def update_actor(self, spec: AgentSpec, state: Any, observation: Observations, key: Key) -> Any:
        """One step of the actor and of everything that follows it slowly."""
        ...


@runtime_checkable
class EpisodeAgent(Protocol):
    """An agent that learns from whole episodes; all agents of a team share its networks."""

    @property
    def learns_from(self) -> Literal["episodes"]:
        """Whole fresh episodes."""
        return "episodes"

    def init(self, spec: AgentSpec, key: Key) -> Any:
        """Fresh networks."""
        ...

    def actor(self, spec: AgentSpec, state: Any) -> Any:
        """The part of the state that acts."""
        ...

    def act(
        self,
        spec: AgentSpec,
        actor: Any,
        observation: Float[Array, "*batch observation"],
        key: Key,
        available: Bool[Array, "*batch action"] | None = None,
    ) -> tuple[Num[Array, "..."], Float[Array, "*batch"]]:
        """An action drawn from the policy, and its log-probability."""
        ...

    def best(
        self,
        spec: AgentSpec,
        actor: Any,
        observation: Float[Array, "*batch observation"],
        available: Bool[Array, "*batch action"] | None = None,
    ) -> Num[Array, "..."]:
        """The most probable of the available actions."""
        ...

    def learn(
        self, spec: AgentSpec, state: Any, played: Played, reward: EpisodeRewards, key: Key, remaining: Scalar
    ) -> tuple[Any, Metrics]:
        """The state after learning from fresh episodes with the given rewards.

        ``remaining`` is the share of the training that is still to come, this iteration included. The metrics include
        ``value_loss``.
        """
        ...
