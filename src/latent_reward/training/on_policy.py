"""The on-policy loop: iterations of whole episodes, in a compiled world or in an environment on the host.

All random numbers of iteration i of a seed come from the key (seed, i), so a checkpoint is the learner's arrays and
the number of iterations done. On the host every copy is reset by a seed drawn from that key. A resumed run is therefore
exact if the environment repeats itself after a reset with the same seed.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from latent_reward import checkpoint
from latent_reward.credit import metrics
from latent_reward.envs.base import Environment, HostWorld, World
from latent_reward.envs.noise import with_noise
from latent_reward.envs.recorder import EpisodeArrays
from latent_reward.envs.rollout import watch
from latent_reward.errors import LareError
from latent_reward.reading import Count
from latent_reward.report.evaluation import Report
from latent_reward.report.video import render_errors
from latent_reward.rng import OnPolicyPurpose, keys_for
from latent_reward.training import from_episodes as core
from latent_reward.training.callbacks import EpisodeEnd, OnEpisode
from latent_reward.training.from_episodes import EpisodeLearner, Measures
from latent_reward.training.learner import State, TeamLearner, require_finite_latents, saved
from latent_reward.training.plan import Fresh, Plan
from latent_reward.training.players import Copies, Player, Results
from latent_reward.types import Keys

_PER_CALL = 10  # iterations in one compiled call: the time until Ctrl-C is heard
_NAN: Any = np.nan
_UNMEASURED = Measures(  # of a run that was resumed and has played no iteration since
    losses={"value_loss": _NAN},
    training_return=_NAN,
    credit=cast(Any, metrics.init_window(1)),
    uncertainty=_NAN,
    returns=_NAN,
    lengths=_NAN,
    broken=None,
)
_FRAMES_PER_SECOND = 10.0  # particle worlds move in steps of 0.1 s


def episode_learner(teams: tuple[TeamLearner, ...], plan: Plan) -> EpisodeLearner:
    """The learner of a run, from those of its teams."""
    assert isinstance(plan.experience, Fresh)
    return EpisodeLearner(teams, plan.rounds, plan.experience)


class OnPolicy:
    """A training in progress: the state of every seed's teams on the device, the iteration count on the host."""

    def __init__(
        self,
        learner: EpisodeLearner,
        plan: Plan,
        seeds: Sequence[int],
        world: Environment,
        on_episode: OnEpisode | None = None,
    ):
        """Build a fresh learner for ``seeds``; no episode is played yet."""
        self._on_episode = on_episode
        self.learner, self.plan, self.seeds, self.world = learner, plan, tuple(seeds), world
        self._keys = keys_for(seeds, OnPolicyPurpose.TRAIN)
        self.states: tuple[State, ...] = core.init(learner, keys_for(seeds, OnPolicyPurpose.INIT))
        self.player = sampling_player(learner, seeds, world)
        self._played = with_noise(world, learner.teams[0].feedback.observation_noise)
        self._practice = (
            self.player if self._played is world else sampling_player(learner, seeds, self._played)
        )
        self.iteration = 0
        self._measures: tuple[Measures, ...] = ()
        self._seconds = self._timed = 0.0

    @property
    def steps_per_round(self) -> int:
        """Environment steps of one iteration, every episode counted in full."""
        return self.learner.experience.episodes * self.world.horizon

    @property
    def step(self) -> int:
        """Environment steps of each seed so far, every episode counted in full."""
        return self.iteration * self.steps_per_round

    def advance(self, until: int) -> None:
        """A few iterations of every seed, at most up to step ``until``; only one if their episodes are told."""
        begun, start = time.perf_counter(), self.iteration
        last = until // self.steps_per_round
        if isinstance(self._played, World):
            self.iteration = min(start + (1 if self._on_episode else _PER_CALL), last)
            self.states, self._measures = core.advance(
                self.learner,
                self._played,
                self.states,
                self._keys,
                jnp.int32(start),
                jnp.int32(self.iteration),
            )
        else:
            assert isinstance(self._practice, HostPlayer)
            k_play, k_learn = _split(self._keys, start)
            episodes = self.learner.experience.episodes
            played = self._practice.play(self.states, k_play, episodes, first=start * episodes)
            self.states, self._measures = core.learn_from(
                self.learner, self.states, played, k_learn, jnp.int32(start)
            )
            self.iteration = start + 1  # only now: what fails while it is played is played again
        jax.block_until_ready(self._measures)
        self._seconds += time.perf_counter() - begun
        self._timed += self.iteration - start
        for learner, measures in zip(self.learner.teams, self._measures, strict=True):
            require_finite_latents(learner, measures.broken, self.seeds, [0] * len(self.seeds))
        if self._on_episode:
            self._tell(self._on_episode)

    def _tell(self, on_episode: OnEpisode) -> None:
        """Tell the episodes of the last iteration."""
        first = (self.iteration - 1) * self.learner.experience.episodes
        for index, seed in enumerate(self.seeds):
            for team, measures in enumerate(self._measures):
                name = self._team_name(team)
                both = np.asarray(measures.returns[index]), np.asarray(measures.lengths[index])
                for number, (ret, length) in enumerate(zip(*both, strict=True), first):
                    on_episode(EpisodeEnd(seed, name, self.step, number, float(ret), int(length)))

    def _team_name(self, team: int) -> str:
        """The name of a team in reports: empty where there is only one."""
        return self.world.teams[team].name if len(self.world.teams) > 1 else ""

    def evaluate(self) -> list[Report]:
        """Play the evaluation episodes, from the same random numbers every time, and report on every team."""
        results = self.player.evaluate(self.states, self.plan.evaluation_episodes)
        speed = self._timed * self.steps_per_round / max(self._seconds, 1e-9)
        self._seconds = self._timed = 0.0
        return [
            self._report(index, team, results[team], speed)
            for index in range(len(self.seeds))
            for team in range(len(self.states))
        ]

    def _report(self, index: int, team: int, results: tuple, speed: float) -> Report:
        returns, won = results[0][index], None if results[1] is None else results[1][index]
        measured: Any = _UNMEASURED
        if self._measures:
            measured = jax.tree.map(lambda leaf: np.asarray(leaf)[index], self._measures[team])
            self._require_finite(self.world.teams[team].name, measured)
        losses = {"decoder_loss": np.nan, **{name: float(loss) for name, loss in measured.losses.items()}}
        unknown = float(measured.uncertainty)
        fitted = self.iteration > 1  # those of the first iteration are predicted before anything is fitted
        learner, credit = self.learner.teams[team], self.states[team].credit
        return Report(
            seed=self.seeds[index],
            team=self._team_name(team),
            step=self.step,
            episodes=self.iteration * self.learner.experience.episodes,
            return_mean=float(returns.mean()),
            return_std=float(returns.std()),
            win_rate=np.nan if won is None else float(won.mean()),
            training_return=float(measured.training_return),
            losses=losses,
            credit=metrics.measure(measured.credit, unknown),
            steps_per_second=speed,
            warning=learner.warning(measured.credit, credit, index, unknown) if fitted else "",
        )

    def _require_finite(self, team: str, measured: Measures) -> None:
        if not np.isfinite(measured.training_return):
            raise LareError(
                f"reward: {self.world.name} paid the {team} {measured.training_return} per episode up to step "
                f"{self.step}; every reward must be a finite number, so correct the world"
            )
        if not np.isfinite(measured.losses["value_loss"]):
            raise LareError(
                f"value_loss: it is {measured.losses['value_loss']} at step {self.step}, so training has diverged; "
                "lower the agent's learning_rate, or look for numbers that are not finite in what its world gives"
            )

    def save(self, path: Path, config: str) -> None:
        """Write a checkpoint: the learner's arrays, and how many iterations are done."""
        checkpoint.write(
            path, checkpoint.named(saved(self.states), "state"), {"iteration": self.iteration}, config
        )

    def restore(self, path: Path, config: str, *, drop_unfinished: bool = False) -> None:
        """Restore the state of a checkpoint; no episode is unfinished between two iterations."""
        stored = checkpoint.read(path, config)
        self.states = checkpoint.restored(self.states, "state", stored)
        self.iteration = stored.value("iteration", Count)

    def close(self) -> None:
        """Close the environments on the host."""
        self.player.close()
        self._practice.close()


def sampling_player(learner: EpisodeLearner, seeds: Sequence[int], world: Environment) -> Player:
    """The player of episodes of ``world``.

    Choices are drawn from the policies, also in an evaluation; vectors are drawn in training only.
    """
    if isinstance(world, World):
        return CompiledPlayer(learner, seeds, world)
    return HostPlayer(learner, seeds, world)


class CompiledPlayer:
    """Play a compiled world."""

    def __init__(self, learner: EpisodeLearner, seeds: Sequence[int], world: World):
        """Nothing is compiled yet."""
        self.learner, self.seeds, self.world = learner, tuple(seeds), world

    def evaluate(self, states: tuple[State, ...], episodes: int, *, final: bool = False) -> Results:
        """Results of each seed."""
        results = core.evaluate(self.learner, self.world, states, _keys(self.seeds, final), episodes)
        return jax.tree.map(np.asarray, results)

    def frames(self, states: tuple[State, ...], seed: int) -> tuple[list[Any], float]:
        """Pictures of one episode of the seed at this position."""
        key = keys_for(self.seeds, OnPolicyPurpose.VIDEO)[seed]
        one = jax.tree.map(lambda leaf: leaf[seed], states)
        seen, steps = jax.jit(
            lambda one: watch(self.world, core.policies(self.learner, one, training=False), key)
        )(one)
        moments = jax.tree.map(np.asarray, seen)
        at = lambda time: jax.tree.map(lambda leaf: leaf[time], moments)  # noqa: E731
        with render_errors(self.world.name):
            drawn = [self.world.render(at(time)) for time in range(int(steps) + 1)]
        return drawn, _FRAMES_PER_SECOND

    def close(self) -> None:
        """Nothing is open."""


class HostPlayer:
    """Play an environment on the host, with one copy per seed and parallel episode."""

    def __init__(self, learner: EpisodeLearner, seeds: Sequence[int], world: HostWorld):
        """Nothing is open yet."""
        self.learner, self.seeds, self._copies = learner, tuple(seeds), Copies(world)

    def play(
        self,
        states: tuple[State, ...],
        keys: Keys,
        episodes: int,
        first: int | None = None,
        training: bool = True,
    ) -> tuple[EpisodeArrays, ...]:
        """Play ``episodes`` episodes of each seed; returns every team's, ``[seed, episode, …]``.

        ``first`` is the number of the first one in training; None for an evaluation.

        Raises:
            BrokenEnvironmentError: the environment raises an error or breaks its interface.
        """

        def where(copy: int) -> str:
            seed, episode = divmod(copy, episodes)
            kind = "evaluation " if first is None else ""
            return f"of {kind}episode {(first or 0) + episode} (seed {self.seeds[seed]})"

        k_reset, k_act = _split(keys, 0)
        resets = np.asarray(jax.vmap(lambda key: jax.random.bits(key, (episodes,)) >> 1)(k_reset))
        arrays = self._copies.play(resets.reshape(-1).tolist(), self._choose(states, k_act, training), where)
        return jax.tree.map(lambda leaf: leaf.reshape(len(keys), episodes, *leaf.shape[1:]), arrays)

    def evaluate(self, states: tuple[State, ...], episodes: int, *, final: bool = False) -> Results:
        """Returns of each seed; there is no winner on the host."""
        arrays = self.play(states, _keys(self.seeds, final), episodes, training=False)
        return tuple((each.total, None) for each in arrays)

    def frames(self, states: tuple[State, ...], seed: int) -> tuple[list[Any], float]:
        """Pictures of one episode of the seed at this position."""
        k_reset, k_act = _split(keys_for(self.seeds, OnPolicyPurpose.VIDEO)[seed : seed + 1], 0)
        reset = int(jax.random.bits(k_reset[0], (1,))[0] >> 1)
        one = jax.tree.map(lambda leaf: leaf[seed : seed + 1], states)
        return self._copies.film(reset, self._choose(one, k_act, training=False))

    def close(self) -> None:
        """Close every copy."""
        self._copies.close()

    def _choose(self, states: tuple[State, ...], keys: Keys, training: bool):
        seeds, acting = len(keys), tuple(state._replace(credit=None, buffer=None) for state in states)

        def choose(step: int, observations: tuple[np.ndarray, ...], available: tuple[np.ndarray | None, ...]):
            apart = lambda each: each.reshape(seeds, -1, *each.shape[1:])  # noqa: E731
            seen, choices = jax.tree.map(apart, (observations, available))
            chosen = core.act(self.learner, acting, seen, choices, keys, np.int32(step), training)
            flat = lambda each: np.asarray(each).reshape(-1, *each.shape[2:])  # noqa: E731
            return [(flat(action), flat(log_probability)) for action, log_probability in chosen]

        return choose


def _keys(seeds: Sequence[int], final: bool) -> Keys:
    return keys_for(seeds, OnPolicyPurpose.FINAL_EVALUATION if final else OnPolicyPurpose.EVALUATION)


def _split(keys: Keys, index: int) -> tuple[Keys, Keys]:
    """Two keys of each seed for iteration ``index``."""
    both = jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, index)))(keys)
    return both[:, 0], both[:, 1]
