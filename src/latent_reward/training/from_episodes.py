"""The compiled part of on-policy training: iterations of all seeds, and evaluation.

One iteration, for each team:
    1. play whole episodes in parallel worlds with the current policy;
    2. compute their features and predict their rewards, before anything is fitted to them (a held-out prediction);
       store them;
    3. update the decoder on stored episodes;
    4. give every step and agent its reward, in a team with what was asked for beside it
       (:mod:`latent_reward.training.teamwork`), and update the policy on the episodes just played.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from latent_reward.agents.base import EpisodeAgent
from latent_reward.credit.broken import Broken, earlier
from latent_reward.credit.metrics import COLUMNS, episode_sums
from latent_reward.credit.uncertainty import uncertainty
from latent_reward.data import buffer as ring
from latent_reward.data.buffer import Buffer
from latent_reward.data.episodes import Episodes, Played
from latent_reward.data.spaces import Discrete
from latent_reward.device import commit
from latent_reward.envs.base import World
from latent_reward.envs.recorder import EpisodeArrays
from latent_reward.envs.rollout import Policy, play, play_idle
from latent_reward.training.learner import State, TeamLearner
from latent_reward.training.plan import Fresh
from latent_reward.training.seeds import over_seeds
from latent_reward.training.teamwork import team_reward
from latent_reward.types import EpisodeRewards, Key, Keys, Lengths, Returns, Scalar


@dataclass(frozen=True)
class EpisodeLearner:
    """The fixed part of a run, static in ``jax.jit``: equal ones share their compiled programs.

    Attributes:
        teams: the learner of each team.
        iterations: length of the whole training.
        experience: episodes per iteration, and how the decoder is fitted.
    """

    teams: tuple[TeamLearner, ...]
    iterations: int
    experience: Fresh


class Measures(NamedTuple):
    """Measurements of one team in one iteration; ``credit`` has a row of the metrics' sums for each episode.

    That and ``uncertainty`` are of the rewards before anything was fitted to the iteration, and 0 where they are not
    asked for. ``broken`` is the first latent that was not finite since the call began; None without latents.
    """

    losses: dict[str, Scalar]
    training_return: Scalar
    credit: Float[Array, "episode 6"]
    uncertainty: Scalar
    returns: Returns
    lengths: Lengths
    broken: Broken | None


def init(learner: EpisodeLearner, keys: Keys) -> tuple[State, ...]:
    """Fresh state of every team for each of ``keys``."""
    return commit(_init_all(learner, keys))


@partial(jax.jit, static_argnums=0)
def _init_all(learner: EpisodeLearner, keys: Keys) -> tuple[State, ...]:
    return over_seeds(partial(_init, learner), keys, apart=True)


def _init(learner: EpisodeLearner, key: Key) -> tuple[State, ...]:
    states = []
    for index, team in enumerate(learner.teams):
        k_agent, k_credit = jax.random.split(jax.random.fold_in(key, index))
        credit = team.method.init(team.credit, k_credit)
        buffer = _init_buffer(learner, team) if team.method.draws else None
        states.append(State(_agent(team).init(team.spec, k_agent), credit, buffer, team.feedback.init()))
    return tuple(states)


def _init_buffer(learner: EpisodeLearner, team: TeamLearner) -> Buffer:
    block = learner.experience.episodes
    episodes = max(1, learner.experience.buffer_episodes // block) * block * team.bags
    size, horizon = team.method.feature_size(team.credit), team.credit.horizon
    return ring.init(episodes * horizon, horizon, team.credit.agents, features=size, episodes=episodes)


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def advance(
    learner: EpisodeLearner,
    world: World,
    states: tuple[State, ...],
    keys: Keys,
    start: Int[Array, ""],
    stop: Int[Array, ""],
) -> tuple[tuple[State, ...], tuple[Measures, ...]]:
    """Iterations ``start`` to ``stop`` of every seed, and the measures of the last one."""

    def one(states, key):
        def iteration(index, carry):
            k_play, k_learn = jax.random.split(jax.random.fold_in(key, index))
            setting = (world, policies(learner, carry[0]), k_play, learner.experience.episodes)
            played, without = play(*setting), partial(play_idle, *setting)
            told = index == stop - 1
            states, measures = _learn_all(learner, carry[0], played, k_learn, index, told, without)
            return states, measures if carry[1] is None else _keep_broken(carry[1], measures)

        shape = jax.eval_shape(partial(iteration, start), (states, None))[1]
        nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shape)
        return jax.lax.fori_loop(start, stop, iteration, (states, nothing))

    return over_seeds(one, states, keys, apart=True)


def _keep_broken(before: tuple[Measures, ...], now: tuple[Measures, ...]) -> tuple[Measures, ...]:
    """The measures of an iteration, with what was broken in an earlier one of the same call."""
    return tuple(
        new
        if old.broken is None or new.broken is None
        else new._replace(broken=earlier(old.broken, new.broken))
        for old, new in zip(before, now, strict=True)
    )


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def learn_from(
    learner: EpisodeLearner,
    states: tuple[State, ...],
    arrays: tuple[EpisodeArrays, ...],
    keys: Keys,
    index: Int[Array, ""],
) -> tuple[tuple[State, ...], tuple[Measures, ...]]:
    """Learn in iteration ``index`` of every seed from episodes played on the host; the first axis is the seed."""

    def one(states, arrays, key):
        played = tuple(Played(each.episodes(), each.log_probability, each.available, None) for each in arrays)
        return _learn_all(learner, states, played, key, index, jnp.array(True))

    return over_seeds(one, states, arrays, keys, apart=True)


@partial(jax.jit, static_argnums=(0, 1, 4))
def evaluate(
    learner: EpisodeLearner, world: World, states: tuple[State, ...], keys: Keys, episodes: int
) -> tuple[tuple[Float[Array, "seed episode"], Bool[Array, "seed episode"] | None], ...]:
    """Returns of each team in ``episodes`` episodes of an evaluation, and whether it won."""

    def one(states, key):
        played = play(world, policies(learner, states, training=False), key, episodes)
        return tuple((each.episodes.returns, each.won) for each in played)

    return over_seeds(one, states, keys, apart=True)


@partial(jax.jit, static_argnums=(0, 6))
def act(
    learner: EpisodeLearner,
    states: tuple[State, ...],
    observations: tuple[Float[Array, "seed episode _ _"], ...],
    available: tuple[Bool[Array, "seed episode _ _"] | None, ...],
    keys: Keys,
    step: Int[Array, ""],
    training: bool,
) -> tuple[tuple[Num[Array, "seed episode _ ..."], Float[Array, "seed episode _"]], ...]:
    """What every agent of every copy does, and the log-probability of that, from the policies of their seeds."""

    def one(states, observations, available, key):
        drawn = jax.random.split(jax.random.fold_in(key, step), len(observations))
        chosen = zip(policies(learner, states, training), observations, drawn, available, strict=True)
        return tuple(policy(seen, key, choices) for policy, seen, key, choices in chosen)

    return jax.vmap(one)(states, observations, available, keys)


def policies(learner: EpisodeLearner, states: tuple[State, ...], training: bool = True) -> tuple[Policy, ...]:
    """The policy of each team of one seed; if not in ``training``, vectors are the best ones instead of drawn ones."""

    def policy(team: TeamLearner, state: State) -> Policy:
        agent, actor = _agent(team), _agent(team).actor(team.spec, state.agent)
        if training or isinstance(team.spec.actions, Discrete):
            return partial(agent.act, team.spec, actor)
        return lambda seen, key, available: (
            agent.best(team.spec, actor, seen, available),
            jnp.zeros(seen.shape[:-1]),
        )

    return tuple(policy(team, state) for team, state in zip(learner.teams, states, strict=True))


def _agent(team: TeamLearner) -> EpisodeAgent:
    return cast(EpisodeAgent, team.agent)


def _learn_all(
    learner: EpisodeLearner,
    states: tuple[State, ...],
    played: tuple[Played, ...],
    key: Key,
    index: Int[Array, ""],
    measured: Bool[Array, ""],
    without: Callable[[int, Int[Array, ""]], Episodes] | None = None,
) -> tuple[tuple[State, ...], tuple[Measures, ...]]:
    """All teams have played together, and each learns from its own return.

    ``without`` plays the episodes again for a team while one of its agents does nothing; None: the world cannot be.
    """
    learned = [
        _learn(
            learner,
            team,
            state,
            each,
            jax.random.fold_in(key, number),
            index,
            measured,
            None if without is None else partial(without, number),
        )
        for number, (team, state, each) in enumerate(zip(learner.teams, states, played, strict=True))
    ]
    after, measures = zip(*learned, strict=True)
    return after, measures


def _learn(
    learner: EpisodeLearner,
    team: TeamLearner,
    state: State,
    played: Played,
    key: Key,
    index: Int[Array, ""],
    measured: Bool[Array, ""],
    without: Callable[[Int[Array, ""]], Episodes] | None = None,
) -> tuple[State, Measures]:
    """What one team learns from the episodes it has played: credit first, then the policy.

    How well the rewards were predicted is computed only if it is to be ``measured``.
    """
    k_credit, k_agent, k_told = jax.random.split(key, 3)
    episodes, method, steps = played.episodes, team.method, played.episodes.mask.shape[1]
    told, remembered = team.tell(episodes, state.told, k_told)
    features = team.features(told)

    def predicted() -> tuple[Float[Array, "episode 6"], Scalar]:
        before = team.feedback.join(method.reward(state.credit, features, told.mask), steps)
        sums = episode_sums(before, episodes.hidden_reward, episodes.mask, jnp)
        return sums, uncertainty(method, state.credit, features[:1], told.mask[:1])

    nothing = jnp.zeros((len(episodes.returns), COLUMNS)), jnp.zeros(())
    sums, unknown = jax.lax.cond(measured, predicted, lambda: nothing)
    credit, buffer = method.observe(state.credit, features, told), state.buffer
    fitted = {"decoder_loss": jnp.full((), np.nan)}
    if buffer is not None:
        buffer = ring.insert(buffer, told, None, features)
        credit, fitted = _fit(learner, team, credit, buffer, k_credit, index)

    def decoded(episodes: Episodes) -> EpisodeRewards:
        bags, _ = team.tell(episodes, state.told, k_told)
        return team.feedback.join(method.reward(credit, team.features(bags), bags.mask), steps)

    reward = team.feedback.join(method.reward(credit, features, told.mask), steps)
    compared = None if without is None else lambda agent: decoded(without(agent))
    reward = team_reward(learner.experience, reward, episodes.mask, compared)
    remaining = 1.0 - index / learner.iterations
    agent, losses = _agent(team).learn(team.spec, state.agent, played, reward, k_agent, remaining)
    broken = team.broken_latent(episodes, team.feedback.join(features, steps))
    if broken is not None:
        broken = broken._replace(episode=broken.episode + index * learner.experience.episodes)
    measures = Measures(
        {**fitted, **losses},
        episodes.returns.mean(),
        sums,
        unknown,
        episodes.returns,
        episodes.lengths,
        broken,
    )
    return State(agent, credit, buffer, remembered), measures


def _fit(
    learner: EpisodeLearner, team: TeamLearner, credit: Any, buffer: Buffer, key: Key, index: Int[Array, ""]
) -> tuple[Any, dict[str, Scalar]]:
    """This iteration's updates of the decoder; returns the losses before the last one."""

    def update(number, carry):
        drawn = team.method.draw(team.credit, jax.random.fold_in(key, number), buffer)
        return team.method.update(team.credit, carry[0], drawn)

    shapes = jax.eval_shape(partial(update, 0), (credit, {}))[1]
    losses = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    fitting = learner.experience
    count = jnp.where(index == 0, fitting.first_updates, fitting.updates)
    return jax.lax.fori_loop(0, count, update, (credit, losses))
