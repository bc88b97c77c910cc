"""The on-policy loop: everything compiled, the host only counts, looks and saves.

Iteration i of a seed uses the key (seed, i) and nothing else that is random, so a checkpoint is the learner's
arrays and the number of iterations done.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from latent_reward.credit import monitor
from latent_reward.envs.pettingzoo import HostWorld
from latent_reward.errors import LareError
from latent_reward.training import checkpoint
from latent_reward.training import team_learner as core
from latent_reward.training.host_teams import HostTeams
from latent_reward.training.plan import TeamSchedule
from latent_reward.training.team_learner import Measures, TeamLearner, TeamState

_TRAIN, _EVALUATE, _INIT = 0, 1, 2
_PER_CALL = 10  # iterations in one compiled call: the time until Ctrl-C is heard


@dataclass(frozen=True)
class TeamReport:
    """What one team of one seed shows at one evaluation; the names are those in ``metrics.jsonl``."""

    seed: int
    team: str
    step: int
    episodes: int
    return_mean: float
    return_std: float
    win_rate: float
    training_return: float
    decoder_loss: float
    policy_loss: float
    value_loss: float
    entropy: float
    explained_variance: float
    credit_correlation: float
    proxy_spread: float
    steps_per_second: float
    warning: str

    @property
    def who(self) -> str:
        """Whose numbers these are, for people."""
        return f"seed {self.seed} {self.team}"


class OnPolicy:
    """A training in progress: the state of every seed's teams on the device, the iterations done on the host."""

    def __init__(self, learner: TeamLearner, schedule: TeamSchedule, seeds: Sequence[int]):
        """Build a fresh learner for ``seeds``; no episode is played yet."""
        self.learner, self.schedule, self.seeds = learner, schedule, tuple(seeds)
        self._keys = [purpose_keys(seeds, purpose) for purpose in (_TRAIN, _EVALUATE, _INIT)]
        self.states: tuple[TeamState, ...] = core.init(learner, self._keys[_INIT])
        self.iteration = 0
        self._host = HostTeams(learner) if isinstance(learner.world, HostWorld) else None
        self._measures: tuple[Measures, ...] | None = None
        self._seconds = self._timed = 0.0

    @property
    def step(self) -> int:
        """Environment steps of each seed so far, every episode counted in full."""
        return self.iteration * steps_per_iteration(self.learner)

    def advance(self, until: int) -> None:
        """A few iterations of every seed, at most up to step ``until``."""
        most = 1 if self._host else _PER_CALL
        stop = min(self.iteration + most, until // steps_per_iteration(self.learner))
        begun = time.perf_counter()
        if self._host:
            self.states, self._measures = self._host.advance(
                self.states, self._keys[_TRAIN], self.iteration, stop
            )
        else:
            self.states, self._measures = core.advance(
                self.learner, self.states, self._keys[_TRAIN], jnp.int32(self.iteration), jnp.int32(stop)
            )
        jax.block_until_ready(self._measures)
        self._seconds += time.perf_counter() - begun
        self._timed += stop - self.iteration
        self.iteration = stop

    def evaluate(self) -> list[TeamReport]:
        """Play the evaluation episodes, from the same random numbers every time, and report on every team."""
        look = self._host.evaluate if self._host else partial(core.evaluate, self.learner)
        played = look(self.states, self._keys[_EVALUATE], self.schedule.evaluation_episodes)
        assert self._measures is not None  # evaluations follow iterations
        speed = self._timed * steps_per_iteration(self.learner) / max(self._seconds, 1e-9)
        self._seconds = self._timed = 0.0
        return [
            self._report(seed, index, team, played[team], speed)
            for index, seed in enumerate(self.seeds)
            for team in range(len(self.states))
        ]

    def _report(self, seed: int, index: int, team: int, played: tuple, speed: float) -> TeamReport:
        assert self._measures is not None
        returns, won = (None if each is None else np.asarray(each)[index] for each in played)
        assert returns is not None
        measured = jax.tree.map(lambda leaf: np.asarray(leaf)[index], self._measures[team])
        if not np.isfinite(measured.training_return):
            world = self.learner.world
            raise LareError(
                f"reward: {world.name} paid the {world.teams[team].name} {measured.training_return} per episode "
                f"up to step {self.step}; every reward must be a finite number, so mend the world"
            )
        if not np.isfinite(measured.value_loss):
            raise LareError(
                f"value_loss: it is {measured.value_loss} at step {self.step}, so training has diverged; lower "
                "the agent's learning_rate, or check what its world pays and shows for numbers that are not finite"
            )
        quality = monitor.credit_quality(measured.credit.astype(np.float64))
        learned = self.states[team].decomposer is not None
        return TeamReport(
            seed=seed,
            team=self.learner.world.teams[team].name,
            step=self.step,
            episodes=self.iteration * self.learner.episodes,
            return_mean=float(returns.mean()),
            return_std=float(returns.std()),
            win_rate=np.nan if won is None else float(won.mean()),
            training_return=float(measured.training_return),
            decoder_loss=float(measured.decoder_loss) if learned else np.nan,
            policy_loss=float(measured.policy_loss),
            value_loss=float(measured.value_loss),
            entropy=float(measured.entropy),
            explained_variance=quality.explained_variance,
            credit_correlation=quality.correlation,
            proxy_spread=quality.spread,
            steps_per_second=speed,
            warning=monitor.verdict(quality) if learned else "",
        )

    def save(self, path: Path, config: str) -> None:
        """Write a checkpoint: the learner's arrays, of the stored episodes only those there are."""
        arrays = {name: np.asarray(leaf) for name, leaf in checkpoint.named(self.states, "state").items()}
        for index, state in enumerate(self.states):
            if state.replay is not None:
                filled = int(np.max(state.replay.stored))
                for name in ("features", "mask", "returns"):
                    whole = f"state[{index}].replay.{name}"
                    arrays[whole] = arrays[whole][:, :filled]
        checkpoint.write(path, arrays, {"iteration": self.iteration}, config)

    def restore(self, path: Path, config: str) -> None:
        """Go to where a checkpoint left off."""
        stored = checkpoint.read(path, config)
        self.states = checkpoint.restored(self.states, "state", stored)
        self.iteration = stored.header["iteration"]

    def close(self) -> None:
        """Close what runs on the host."""
        if self._host:
            self._host.close()


def steps_per_iteration(learner: TeamLearner) -> int:
    """Environment steps of one iteration, every episode counted in full."""
    return learner.episodes * learner.world.horizon


def purpose_keys(seeds: Sequence[int], purpose: int):
    """One key per seed, apart for each purpose."""
    keys = jax.vmap(jax.random.key)(np.asarray(seeds))
    return jax.vmap(jax.random.fold_in, (0, None))(keys, purpose)
