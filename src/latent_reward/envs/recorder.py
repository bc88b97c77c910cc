"""Record episodes of an environment on the host, in arrays that are filled step by step."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from latent_reward.data.episodes import Episodes, paid_while_there, team_return
from latent_reward.data.spaces import Discrete
from latent_reward.envs import contract
from latent_reward.envs.base import HostWorld, ParallelEnv
from latent_reward.envs.contract import MASK, OBSERVATION, Breach, Refused
from latent_reward.errors import ANY_FAILURE, BrokenEnvironmentError
from latent_reward.rng import HostPurpose

Choose = Callable[
    [int, tuple[np.ndarray, ...], tuple[np.ndarray | None, ...]], Sequence[tuple[np.ndarray, np.ndarray]]
]
"""Number of the step, each team's observations ``[copy, agent, observation]``, and its available actions
``[copy, agent, action]``, to actions and log-probabilities. Continuous actions are always available (None)."""


class InterruptedEnvironment(KeyboardInterrupt):
    """Ctrl-C while an environment was resetting or stepping: nothing else was under way."""


class EpisodeArrays(NamedTuple):
    """Episodes of one team, one per copy of an environment, filled step by step: ``[copy, time, agent, …]``.

    ``total`` is the sum of all rewards in double precision. ``available`` has the actions that each agent could choose
    from; None where actions are continuous. Whatever lies beyond the end of an episode is undefined except for ``mask``
    and ``reward``.
    """

    observation: np.ndarray
    action: np.ndarray
    log_probability: np.ndarray
    reward: np.ndarray
    mask: np.ndarray
    terminated: np.ndarray
    total: np.ndarray
    available: np.ndarray | None = None

    def episodes(self) -> Episodes:
        """The same as what credit and agents read."""
        arrays: Any = self  # of NumPy, which JAX takes for its own
        mask = jnp.asarray(self.mask)
        paid = paid_while_there(jnp.asarray(self.reward), mask)
        returns = team_return(paid, mask)
        return Episodes(arrays.observation, arrays.action, arrays.mask, arrays.terminated, returns, paid)


def blank(world: HostWorld, team: int, copies: int) -> EpisodeArrays:
    """Arrays for one episode of a team in each of ``copies``."""
    kind = world.teams[team]
    shape = (copies, world.horizon, kind.agents)
    return EpisodeArrays(
        np.zeros((copies, world.horizon + 1, kind.agents, kind.observation_size), np.float32),
        np.zeros((*shape, *kind.actions.shape), kind.actions.dtype),
        np.zeros(shape, np.float32),
        np.zeros(shape, np.float32),
        np.zeros(shape, bool),
        np.zeros(shape, bool),
        np.zeros(copies),
        np.ones((*shape, kind.actions.size), bool) if isinstance(kind.actions, Discrete) else None,
    )


def collect(
    world: HostWorld,
    envs: Sequence[ParallelEnv],
    seeds: Sequence[int],
    choose: Choose,
    where: Callable[[int], str] = lambda copy: "of an episode",
) -> tuple[EpisodeArrays, ...]:
    """Play one episode in each copy, reset by its seed, and record every team's.

    ``where`` names the episode of a copy in errors.

    Raises:
        BrokenEnvironmentError: an environment raises an error or breaks its interface, or a number is not finite.
    """
    arrays = tuple(blank(world, team, len(envs)) for team in range(len(world.teams)))
    recorders = [Recorder(world, env, copy, arrays) for copy, env in enumerate(envs)]
    for recorder, seed in zip(recorders, seeds, strict=True):
        recorder.begin(seed, where(recorder.copy))
    running = [True] * len(recorders)
    for step in range(world.horizon):
        if not any(running):
            break
        available = (None if each.available is None else each.available[:, step] for each in arrays)
        chosen = choose(step, tuple(each.observation[:, step] for each in arrays), tuple(available))
        for each, (_, log_probability) in zip(arrays, chosen, strict=True):
            each.log_probability[:, step] = log_probability
        running = [
            continues and recorder.step([action[recorder.copy] for action, _ in chosen])
            for recorder, continues in zip(recorders, running, strict=True)
        ]
    return arrays


class Recorder:
    """Plays one copy of an environment and fills its row of the arrays.

    An agent is there (``mask``) at a step if the environment lists it before that step; at other steps only the rewards
    that it is paid are recorded for it. An episode that reaches the horizon is cut. An observation that is shorter than
    those of other members of the team is followed by zeros. An action is available unless the agent has fewer than
    others of its team, or a mask beside its observation or in its info says that it is not.
    """

    def __init__(self, world: HostWorld, env: ParallelEnv, copy: int, arrays: tuple[EpisodeArrays, ...]):
        """Nothing is played yet."""
        self.world, self.env, self.copy, self.arrays = world, env, copy, arrays
        self._places = {name: (t, i) for t, names in enumerate(world.members) for i, name in enumerate(names)}
        self._discrete = [isinstance(team.actions, Discrete) for team in world.teams]
        self._uneven = [len(set(counts)) > 1 for counts in world.action_counts]
        self._there: list = []
        self.steps = self._seed = 0
        self._where = ""

    @property
    def playing(self) -> bool:
        """Whether an episode was begun and has not ended by itself."""
        return bool(self._there)

    def forget(self) -> None:
        """Leave the episode: there are no steps, and nobody is there until the next one begins."""
        self.steps, self._there = 0, []

    def begin(self, seed: int, where: str = "of an episode") -> None:
        """Reset the copy. ``where`` names the episode in errors.

        Raises:
            BrokenEnvironmentError: the reset fails, gives something of another form, or nobody is there after it.
        """
        self.forget()
        self._where, self._seed = where, seed
        for team, each in enumerate(self.arrays):
            each.mask[self.copy], each.terminated[self.copy] = False, False
            each.reward[self.copy], each.total[self.copy] = 0.0, 0.0
            if each.available is not None:
                each.available[self.copy] = True
                for agent, count in enumerate(self.world.action_counts[team] if self._uneven[team] else ()):
                    each.available[self.copy, :, agent, count:] = False
        result: Any = self._call("reset", lambda: self.env.reset(seed=seed))
        self._require(contract.form_breach(result, "reset"))
        there = self._call("reset", lambda: list(self.env.agents))
        if not there:
            message = "has nobody in its agents after reset"
            self._require(Breach("agents", message, "list in `agents` who acts in the first step"))
        self._observe(there, *result)
        self._there = there

    def step(self, chosen: Sequence[np.ndarray]) -> bool:
        """Take each team's actions ``[agent, …]`` and return whether the episode continues.

        Raises:
            BrokenEnvironmentError: the step fails or gives something of another form.
        """
        there = self._there
        actions, step = {}, self.steps
        for agent in there:
            team, number = self._place(agent)
            arrays, action = self.arrays[team], chosen[team][number]
            arrays.mask[self.copy, step, number] = True
            arrays.action[self.copy, step, number] = action
            actions[agent] = int(action) + self.world.first_action[team] if self._discrete[team] else action
        result = self._call("step", lambda: self.env.step(actions))
        self._require(contract.form_breach(result, "step"))
        seen, paid, terminated, truncated, infos = result
        left = self._call("step", lambda: list(self.env.agents))
        for agent in there:
            team, number = self._place(agent)
            arrays = self.arrays[team]
            self._pay(paid, agent)
            try:
                ends = bool(terminated.get(agent, False))
                gone = ends or bool(truncated.get(agent, False))
            except ANY_FAILURE:  # a stranger's results may be anything
                self._require(contract.end_breach((terminated, truncated), agent, False))
                raise
            if gone and agent in left:
                self._require(contract.end_breach((terminated, truncated), agent, True))
            arrays.terminated[self.copy, step, number] = ends
        for agent in paid:
            if agent not in there and str(agent) in self._places:  # of strangers nothing is known
                self._pay(paid, agent)
        self.steps += 1
        try:
            self._observe([*there, *(agent for agent in left if agent not in there)], seen, infos, left)
        except BaseException:
            self.steps -= 1  # the step can be taken again
            raise
        self._there = left
        return bool(left) and self.steps < self.world.horizon

    def _pay(self, paid: Mapping, agent: Any) -> None:
        """Record what an agent is paid for the step that is being taken."""
        team, number = self._place(agent)
        try:
            reward = contract.number_of(paid[agent])
        except ANY_FAILURE:  # a stranger's results may be anything
            self._require(contract.reward_breach(paid, agent))
            raise
        self.arrays[team].reward[self.copy, self.steps, number] = reward
        self.arrays[team].total[self.copy] += reward

    def _call(self, name: str, function: Callable[[], Any]) -> Any:
        """The result of a stranger's code, which may fail in any way."""
        try:
            return function()
        except KeyboardInterrupt as error:
            raise InterruptedEnvironment from error
        except Refused as refused:
            self._require(refused.breach)
        except BaseException as error:
            if isinstance(error, GeneratorExit):
                raise
            raise self._broken(contract.raised(error, name)) from error

    def _observe(self, agents: Sequence, seen: Mapping, infos: Any, left: Sequence | None = None) -> None:
        """Record what the agents see, and what those that are ``left`` (None: all) may do next."""
        with np.errstate(over="ignore"):  # what float32 cannot hold is refused below
            noise = self._noise()
            for agent in agents:
                team, number = self._place(agent)
                row = self.arrays[team].observation[self.copy, self.steps, number]
                size = self.world.observation_sizes[team][number]
                mask = self._fill(row, seen, agent, size)
                if noise:
                    row[:size] += noise[team][number, :size]
                if left is None or agent in left:
                    info = infos.get(agent) if isinstance(infos, Mapping) else None
                    told = info.get(MASK) if isinstance(info, Mapping) else None
                    for each in (mask, told):
                        if each is not None:
                            self._restrict(team, number, agent, each)

    def _noise(self) -> list[np.ndarray]:
        """Noise on what each agent of every team sees now, ``[agent, observation]``; empty if there is none."""
        if not self.world.noise:
            return []
        random = np.random.default_rng((self._seed, int(HostPurpose.OBSERVATION_NOISE), self.steps))
        shapes = ((team.agents, team.observation_size) for team in self.world.teams)
        return [
            (random.standard_normal(shape) * scale).astype(np.float32)
            for shape, scale in zip(shapes, self.world.noise, strict=True)
        ]

    def _fill(self, row: np.ndarray, seen: Mapping, agent: Any, size: int) -> Any:
        """Write what an agent sees into its row, and return the mask that lies beside it, if there is one."""
        mask = None
        try:
            value = seen[agent]
            if isinstance(value, Mapping):
                value, mask = value[OBSERVATION], value.get(MASK)
            stored = np.asarray(value, np.float32)
            if stored.shape == (size,) and np.isfinite(stored).all():
                row[:size] = stored
                row[size:] = 0.0
                return mask
        except ANY_FAILURE as error:  # a stranger's results may be anything
            self._require(contract.observation_breach(seen, agent, size))
            raise self._broken(contract.raised(error, "what it gave")) from error
        self._require(contract.observation_breach(seen, agent, size))
        return mask

    def _restrict(self, team: int, number: int, agent: Any, mask: Any) -> None:
        available = self.arrays[team].available
        count = None if available is None else self.world.action_counts[team][number]
        self._require(contract.mask_breach(mask, agent, count))
        if available is None or self.steps >= self.world.horizon:
            return
        row = available[self.copy, self.steps, number, :count]
        row &= np.asarray(mask, bool)
        if not row.any():
            self._require(contract.mask_breach(row, agent, count))

    def _place(self, agent) -> tuple[int, int]:
        if str(agent) not in self._places:
            message = f"has the agent {str(agent)!r}, which is not among its possible_agents"
            self._require(Breach("pettingzoo", message, "correct the environment"))
        return self._places[str(agent)]

    def _require(self, breach: Breach | None) -> None:
        """Raise if there is a breach."""
        if breach is not None:
            raise self._broken(breach)

    def _broken(self, breach: Breach) -> BrokenEnvironmentError:
        return BrokenEnvironmentError(
            f"{breach.part}: {self.world.name} {breach.message} at step {self.steps} {self._where}",
            breach.remedy,
        )
