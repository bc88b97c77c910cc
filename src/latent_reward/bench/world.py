"""A world that can be enumerated: every state, action and outcome, so that what is true of it is computed."""

import itertools
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float, Int

from latent_reward.errors import LareError, require_choice, require_count

Truth = Literal["reward", "advantage"]
_MOST = 1 << 13  # transitions; more would no longer be solved in an instant


class Outcome(NamedTuple):
    """One of the things that may happen in a step.

    Attributes:
        probability: of this outcome.
        state: the state that is reached.
        reward: of the step, one number; of a team one for each agent.
        over: whether the episode ends of its own with the step.
    """

    probability: float
    state: Hashable
    reward: Any
    over: bool = False


@dataclass(frozen=True, eq=False)
class World:
    """A finite world of one agent or a team, as a list of its transitions m = (s, a, s′).

    Attributes:
        name: what it is called.
        summary: what is paid, in a few words.
        truth: what the credit of a step truly is: the ``reward`` that it earns, or, where rewards come late or do not
            add up, the policy's ``advantage``, Q(s, a) − V(s); of a team what the agent's own choice adds,
            Q(s, a) − E[Q(s, a) | the others' choices] (Foerster et al. 2018).
        agents: agents of the team.
        actions: actions of each agent. The joint action of a team is one number with the first agent's leading.
        horizon: steps until time is up.
        start: probability of each state at the start.
        source: s of each transition.
        action: the joint action of each transition.
        target: s′ of each transition.
        probability: of each transition, given s and a.
        reward: mean reward of each transition and agent.
        over: whether the transition ends the episode.
        observation: what each agent sees of a state.
        latents: φ(o, a) of rows, with a one-hot: what an encoder would say of a step.
        latent_names: names of the columns of φ.
        noise: standard deviation of the reward of each agent and step around its mean.
        distractors: columns of noise N(0, 1) that each observation has besides.
    """

    name: str
    summary: str
    truth: Truth
    agents: int
    actions: int
    horizon: int
    start: Float[np.ndarray, " state"]
    source: Int[np.ndarray, " transition"]
    action: Int[np.ndarray, " transition"]
    target: Int[np.ndarray, " transition"]
    probability: Float[np.ndarray, " transition"]
    reward: Float[np.ndarray, "transition agent"]
    over: Bool[np.ndarray, " transition"]
    observation: Float[np.ndarray, "state agent observation"]
    latents: Callable[..., Any]
    latent_names: tuple[str, ...]
    noise: float = 0.0
    distractors: int = 0

    @property
    def states(self) -> int:
        """How many states there are."""
        return len(self.start)

    @cached_property
    def choices(self) -> Int[np.ndarray, "joint agent"]:
        """The action of each agent in each joint action."""
        return np.array(list(itertools.product(range(self.actions), repeat=self.agents)))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Sizes that decide which compiled programs worlds can share."""
        return (
            self.agents,
            self.actions,
            self.horizon,
            self.observation.shape[-1] + self.distractors,
        )

    @cached_property
    def expectation(self) -> scipy.sparse.csr_array:
        """The matrix ``[state × joint action, transition]`` of probabilities: expectations over the outcomes."""
        row = self.source * len(self.choices) + self.action
        place = (row, np.arange(len(row)))
        size = (self.states * len(self.choices), len(row))
        return scipy.sparse.csr_array((self.probability, place), shape=size)


def tabulate(
    name: str,
    summary: str,
    *,
    start: Mapping[Any, float],
    step: Callable[[Any, Any], Iterable[Outcome]],
    observe: Callable[[Any], Any],
    latents: Callable[..., Any],
    latent_names: tuple[str, ...],
    truth: Truth = "reward",
    agents: int = 1,
    actions: int = 3,
    horizon: int = 13,
    scale: float = 1.0,
    noise: float = 0.0,
    distractors: int = 0,
) -> World:
    """Enumerate a world from pure functions of one state.

    Args:
        name: what it is called.
        summary: what is paid, in a few words.
        start: states at the start and their probabilities.
        step: the outcomes of an action, a whole number, or of a team a tuple of them.
        observe: what is seen of a state, ``(o,)``; of a team ``(agents, o)``.
        latents: φ(o, a) of rows, a JAX function as :func:`latent_reward.encoder_from_function` takes it.
        latent_names: names of the columns of φ.
        truth: what the credit of a step truly is.
        agents: agents of the team.
        actions: actions of each agent.
        horizon: steps until time is up.
        scale: what rewards and noise are multiplied by.
        noise: standard deviation of the reward of each step and agent around its mean.
        distractors: columns of noise besides what is seen.

    Raises:
        LareError: probabilities do not sum to 1, a reward has the wrong size, or there are too many states.
    """
    require_choice("truth", truth, Truth)
    require_count(1, agents=agents, actions=actions, horizon=horizon)
    joint = list(itertools.product(range(actions), repeat=agents))
    number = {state: place for place, state in enumerate(start)}
    _require_probabilities(name, "start", start.values())
    rows, waiting = [], list(start)
    while waiting:
        state = waiting.pop(0)
        for place, chosen in enumerate(joint):
            outcomes = list(step(state, chosen if agents > 1 else chosen[0]))
            _require_probabilities(
                name, f"step({state!r}, {chosen})", (each.probability for each in outcomes)
            )
            for each in outcomes:
                if each.state not in number:
                    number[each.state] = len(number)
                    if not each.over:
                        waiting.append(each.state)
                reward = np.broadcast_to(np.asarray(each.reward, float), (agents,))
                rows.append((number[state], place, number[each.state], each.probability, reward, each.over))
        if len(rows) > _MOST:
            raise LareError(f"world: {name} has more than {_MOST} transitions; make it smaller")
    source, action, target, probability, reward, over = map(np.array, zip(*rows, strict=True))
    seen = np.array([np.asarray(observe(state), float) for state in number])
    begins = np.zeros(len(number))
    begins[: len(start)] = list(start.values())
    return World(
        name, summary, truth, agents, actions, horizon, begins, source, action, target, probability,
        scale * reward, over, seen.reshape(len(number), agents, -1), latents, latent_names, scale * noise, distractors,
    )  # fmt: skip


def _require_probabilities(name: str, place: str, values: Iterable[float]) -> None:
    found = np.array(list(values), float)
    if not len(found) or (found <= 0).any() or not np.isclose(found.sum(), 1.0):
        raise LareError(
            f"world: the probabilities of {place} in {name} are {found.tolist()}; they must be above 0 and sum to 1"
        )
