"""Play a few seeded random episodes of an environment, and name everything in which it breaks its interface.

Unlike training, which stops at the first breach, a trial goes on as long as results can be read, and says each kind of
breach once, with the step and the episode where it came first. The checkers of Gymnasium and of PettingZoo, where the
environment is one of theirs, have their say too.
"""

import contextlib
import io
import re
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from latent_reward.data.spaces import Continuous
from latent_reward.envs import contract
from latent_reward.envs.base import HostWorld, ParallelEnv, close
from latent_reward.envs.contract import MASK, OBSERVATION, Breach, Refused
from latent_reward.envs.single import SingleAgent
from latent_reward.envs.spaces import parts_of
from latent_reward.errors import ANY_FAILURE, named, one_line

EPISODES = 3
_SECONDS = 30.0  # after which no further episode begins
# What Gymnasium's checker says of environments that are fine here, or that a line of our own says better.
_IDLE = (
    "infinity",
    "symmetric and normalized",
    "must be a float",
    "unwrapped version",
    "eterministic",
    "np_random",
)
_IDLE = (*_IDLE, "super().reset(seed", "random generates", "not equal although similar")
_HARMLESS = ("share an object",)  # the recorder copies what it is given


class Found(NamedTuple):
    """A breach with its place in words; a ``warning`` if training works all the same."""

    breach: Breach
    warning: bool


class Trial(NamedTuple):
    """What a trial found, and how much it played."""

    found: tuple[Found, ...]
    episodes: int
    steps: int


class Moment(NamedTuple):
    """What a step led to: what the agents saw and were paid."""

    observations: dict[str, np.ndarray]
    rewards: dict[str, np.ndarray]


def try_out(world: HostWorld, episodes: int = EPISODES) -> Trial:
    """Play ``episodes`` of random actions in one copy, and the first one again in it and in a second copy.

    Raises:
        LareError: the environment cannot be made.
    """
    notes, begun = _Notes(), time.monotonic()
    played: list[list[Moment]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        env, other = world.make(None), world.make(None)
        try:
            for number in range(episodes):
                if number and time.monotonic() - begun > _SECONDS:
                    break
                played.append(_episode(world, env, number, notes))
            first, elsewhere, silent = played[0], _episode(world, other, 0, _Notes()), _Notes()
            again = _episode(world, env, 0, silent)
        finally:
            close(env)
            close(other)
        checked = list(_checkers(world, bool(notes.kinds)))
    for what, repeated in (("A second copy", elsewhere), ("The same copy, reset once more,", again)):
        difference = _difference(first, repeated)
        if difference and first and repeated:
            notes.add(_unrepeatable(what, difference), "", warning=True)
            break
    return Trial((*notes.found(), *checked), len(played), sum(map(len, played)))


class _Notes:
    """Breaches by their kind: the first of each, and how many followed it."""

    def __init__(self):
        self.kinds: dict[tuple[str, str], list] = {}

    def add(self, breach: Breach | None, where: str, *, warning: bool = False) -> bool:
        """Whether there is a breach; it is noted with its place."""
        if breach is None:
            return False
        kind = self.kinds.setdefault((breach.part, breach.remedy), [breach, where, warning, -1])
        kind[3] += 1
        return True

    def found(self) -> Iterator[Found]:
        """Each kind once."""
        for breach, where, warning, more in self.kinds.values():
            rest = f" (and {more:,} more like it)" if more else ""
            yield Found(breach._replace(message=f"{breach.message}{where}{rest}"), warning)


def _episode(world: HostWorld, env: ParallelEnv, number: int, notes: _Notes) -> list[Moment]:
    """Play one episode and note every breach; it ends early where its results cannot be read."""
    random, moments = np.random.default_rng(number), []
    where = lambda step: f" at step {step} of episode {number} (seed {number})"  # noqa: E731
    result = _call(lambda: env.reset(seed=number), "reset", where(0), notes)
    if result is None or notes.add(contract.form_breach(result, "reset"), where(0)):
        return moments
    there = _call(lambda: list(env.agents), "reset", where(0), notes)
    if there is None:
        return moments
    if not there:
        breach = Breach(
            "agents", "has nobody in its agents after reset", "list in `agents` who acts in the first step"
        )
        notes.add(breach, where(0))
        return moments
    seen, infos = result
    _look(world, env, there, seen, infos, where(0), notes)
    for step in range(world.horizon):
        actions = {
            agent: _action(world, agent, seen, infos, random) for agent in there if _place(world, agent)
        }
        result = _call(lambda actions=actions: env.step(actions), "step", where(step), notes)
        if result is None or notes.add(contract.form_breach(result, "step"), where(step)):
            return moments
        left = _call(lambda: list(env.agents), "step", where(step), notes)
        if left is None:
            return moments
        seen, paid, *ends, infos = result
        for breach in contract.absent_breaches(result, there, left):
            notes.add(breach, where(step))
        for agent in there:
            notes.add(contract.reward_breach(paid, agent), where(step))
            notes.add(contract.end_breach(tuple(ends), agent, agent in left), where(step))
            if agent not in left and not any(_true(flags.get(agent)) for flags in ends):
                message = f"took {agent} out of its agents without an end"
                notes.add(Breach("agents", message, "say that it terminated or was truncated"), where(step))
        _look(
            world,
            env,
            [*there, *(each for each in left if each not in there)],
            seen,
            infos,
            where(step + 1),
            notes,
        )
        moments.append(Moment(_numbers(seen), _numbers(paid)))
        there = left
        if not there:
            break
    return moments


def _call(function: Callable[[], Any], call: str, where: str, notes: _Notes) -> Any:
    """The result of a stranger's code; None if it fails, which is noted."""
    try:
        return function()
    except KeyboardInterrupt:
        raise
    except Refused as refused:
        notes.add(refused.breach, where)
    except BaseException as error:
        notes.add(contract.raised(error, call), where)
    return None


def _place(world: HostWorld, agent: Any) -> tuple[int, int] | None:
    places = (
        (team, names.index(str(agent))) for team, names in enumerate(world.members) if str(agent) in names
    )
    return next(places, None)


def _look(
    world: HostWorld, env: ParallelEnv, agents: list, seen: Mapping, infos: Any, where: str, notes: _Notes
) -> None:
    """Note what is wrong with what the agents see and are told."""
    if not isinstance(infos, Mapping):
        notes.add(
            Breach("infos", f"gave a {type(infos).__name__} as infos", "give a mapping from agents"), where
        )
        infos = {}
    for agent in agents:
        place = _place(world, agent)
        if place is None:
            message = f"has the agent {str(agent)!r}, which is not among its possible_agents"
            notes.add(Breach("agents", message, "list every agent in possible_agents"), where)
            continue
        team, number = place
        info = infos.get(agent, {})
        if not isinstance(info, Mapping):
            breach = Breach(
                "info", f"gave {agent} {contract.shown(info)} as info", "an info is a dict, perhaps empty"
            )
            notes.add(breach, where)
        wrong = notes.add(
            contract.observation_breach(seen, agent, world.observation_sizes[team][number]), where
        )
        if not wrong:
            space = _observation_space(env, agent)
            for breach, warning in _unlike(space, seen[agent], agent):
                notes.add(breach, where, warning=warning)
        count = (
            None if isinstance(world.teams[team].actions, Continuous) else world.action_counts[team][number]
        )
        if agent in _list(env):
            for mask in _masks(agent, seen, infos):
                notes.add(contract.mask_breach(mask, agent, count), where)


def _list(env: ParallelEnv) -> list:
    return list(getattr(env, "agents", ()))


def _observation_space(env: ParallelEnv, agent: Any) -> gymnasium.Space | None:
    try:
        space = env.env.observation_space if isinstance(env, SingleAgent) else env.observation_space(agent)
        return parts_of(space)[0]
    except ANY_FAILURE:  # a compiled world has none
        return None


def _unlike(space: Any, value: Any, agent: Any) -> Iterator[tuple[Breach, bool]]:
    """Where a readable observation lies outside of its space, or is of another type."""
    if not isinstance(space, gymnasium.spaces.Box):
        return
    array = np.asarray(value[OBSERVATION] if isinstance(value, Mapping) else value)
    near = 1e-5 * np.maximum(1.0, np.abs(np.nan_to_num(array.astype(float))))
    outside = (array < space.low - near) | (array > space.high + near)
    if outside.any():
        index = int(outside.argmax())
        bounds = f"{space.low[index]:g} to {space.high[index]:g}"
        message = f"gave {agent} {array[index]:g} at index {index}, outside of {bounds}"
        yield Breach(OBSERVATION, message, "widen the observation space, or clip what is outside"), False
    if not isinstance(value, np.ndarray | Mapping) or not np.can_cast(array.dtype, space.dtype, "same_kind"):
        kind = array.dtype if isinstance(value, np.ndarray | Mapping) else type(value).__name__
        message = f"gave {agent} observations of type {kind} where its space says {space.dtype}"
        yield Breach(OBSERVATION, message, f"return NumPy arrays of {space.dtype}"), True


def _masks(agent: Any, seen: Mapping, infos: Any) -> Iterator[Any]:
    for each in (seen.get(agent), infos.get(agent) if isinstance(infos, Mapping) else None):
        if isinstance(each, Mapping) and each.get(MASK) is not None:
            yield each[MASK]


def _action(world: HostWorld, agent: Any, seen: Mapping, infos: Any, random: np.random.Generator) -> Any:
    """A random action among those that the agent may choose."""
    team, number = _place(world, agent) or (0, 0)
    actions = world.teams[team].actions
    if isinstance(actions, Continuous):
        return random.uniform(actions.low, actions.high).astype(np.float32)
    count = world.action_counts[team][number]
    allowed = np.ones(count, bool)
    for mask in _masks(agent, seen, infos):
        if contract.mask_breach(mask, agent, count) is None and (allowed & np.asarray(mask, bool)).any():
            allowed &= np.asarray(mask, bool)
    return int(random.choice(np.flatnonzero(allowed))) + world.first_action[team]


def _numbers(values: Mapping) -> dict[str, np.ndarray]:
    """What can be compared of observations or rewards."""
    found = {}
    for agent, value in values.items():
        with contextlib.suppress(Exception):
            inner = value[OBSERVATION] if isinstance(value, Mapping) else value
            found[str(agent)] = np.array(inner, float)
    return found


def _true(value: Any) -> bool:
    with contextlib.suppress(Exception):
        return bool(value)
    return True


def _difference(first: list[Moment], again: list[Moment]) -> str:
    """Where two episodes of the same seed and actions differ first; empty if they do not."""
    for step, (one, other) in enumerate(zip(first, again, strict=False)):
        for what in Moment._fields:
            if not _alike(getattr(one, what), getattr(other, what)):
                return f"other {what} at step {step}"
    return "" if len(first) == len(again) else f"another length than {len(first)} steps"


def _alike(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> bool:
    return ours.keys() == theirs.keys() and all(
        ours[key].shape == theirs[key].shape
        and np.allclose(ours[key], theirs[key], rtol=1e-5, atol=1e-5, equal_nan=True)
        for key in ours
    )


def _unrepeatable(what: str, difference: str) -> Breach:
    message = (
        f"does not repeat itself. {what} gave {difference} of episode 0, from the same seed and actions, so a run does "
        "not give the same numbers twice, and one that is stopped is resumed with --drop-unfinished, without its "
        "unfinished episode"
    )
    return Breach(
        "seed", message, "draw every random number from self.np_random, and keep nothing between episodes"
    )


def _checkers(world: HostWorld, broken: bool) -> Iterator[Found]:
    """What the checkers of Gymnasium and PettingZoo say, one line for each of their warnings and assertions."""
    env = world.make(None)
    test = _test_of(env)
    if test is None:
        close(env)
        return
    name, run = test
    failure: BaseException | None = None
    with warnings.catch_warnings(record=True) as said, contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("always")
        try:
            run()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            failure = error
    close(env)
    lines = dict.fromkeys(_plain(str(each.message)) for each in said)
    for line in lines:
        if not any(idle in line for idle in _IDLE):
            yield Found(Breach(name, f"warns: {line}", "correct the environment"), True)
    if failure is not None:
        yield from _failure(name, failure, broken)


def _test_of(env: ParallelEnv) -> tuple[str, Callable[[], Any]] | None:
    """The checker of the package that an environment comes from, ready to run."""
    if isinstance(env, SingleAgent):
        from gymnasium.utils.env_checker import check_env

        inner = env.env.unwrapped
        return "gymnasium", lambda: check_env(inner, skip_render_check=True, skip_close_check=True)
    with contextlib.suppress(ImportError):
        from pettingzoo import ParallelEnv as Theirs  # pyright: ignore[reportMissingImports]
        from pettingzoo.test import parallel_api_test  # pyright: ignore[reportMissingImports]

        if isinstance(env, Theirs):
            return "pettingzoo", lambda: parallel_api_test(env, num_cycles=100)
    return None


def _failure(name: str, error: BaseException, broken: bool) -> Iterator[Found]:
    """An assertion of a checker; another error is told only if our own episodes were fine."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    text = one_line(error) or (place.line or "").strip()
    theirs = isinstance(error, AssertionError | gymnasium.error.Error) and (
        "checker" in place.filename or "parallel_test" in place.filename
    )
    if any(idle in text for idle in _IDLE) or "unwrapped" in text:
        return
    remedy = "correct the environment"
    if theirs:
        yield Found(Breach(name, f"refuses it: {text}", remedy), any(each in text for each in _HARMLESS))
    elif not broken:
        yield Found(Breach(name, f"stops with {named(error)}", remedy), True)


def _plain(text: str) -> str:
    """A warning without colours and line breaks."""
    return " ".join(re.sub(r"\x1b\[[\d;]*m", "", text).removeprefix("WARN: ").split())[:200]
