"""The off-policy loop: a host environment per seed, one compiled update per step.

Every step, for all seeds side by side:
    1. choose actions: uniformly random during the warm-up, then policy plus noise;
    2. when the actor's turn has come, start the compiled update of all steps since its last one (it runs while the
       environments step: it needs only finished episodes);
    3. step the environments, noting the hidden rewards;
    4. where an episode ends, absorb it and start the next one from its own seed.
Every ``evaluate_every`` steps the deterministic policy plays fixed, seeded episodes.

Nothing random depends on history: keys come from (seed, step), resets from (seed, episode number). So a
checkpoint needs the learner's arrays and the actions of the unfinished episode, which are replayed on resume.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from latent_reward.credit import monitor
from latent_reward.errors import LareError
from latent_reward.training import checkpoint
from latent_reward.training import learner as core
from latent_reward.training.learner import Learner, State
from latent_reward.training.plan import Schedule
from latent_reward.training.replay import Episode, written

_ACT, _UPDATE, _INIT = 0, 1, 2
_RESET, _WARM_UP, _EVALUATION = 0, 1, 2
_NOISE_STEPS = 256  # steps whose exploration noise is drawn in one call


@dataclass(frozen=True)
class Report:
    """What one seed shows at one evaluation; the names are those in ``metrics.jsonl``."""

    seed: int
    step: int
    episodes: int
    return_mean: float
    return_std: float
    training_return: float
    decoder_loss: float
    critic_loss: float
    explained_variance: float
    credit_correlation: float
    proxy_spread: float
    steps_per_second: float
    warning: str

    @property
    def who(self) -> str:
        """Whose numbers these are, for people."""
        return f"seed {self.seed}"


@dataclass
class Track:
    """One seed's environment, its unfinished episode, and what is measured of its credit."""

    seed: int
    env: gymnasium.Env
    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    steps: int = 0
    episodes: int = 0
    training_return: float = np.nan
    monitor: np.ndarray = field(default_factory=monitor.init_monitor)

    def reset(self) -> None:
        """Start the next episode, from a state that depends on (seed, episode number) only."""
        observation, _ = self.env.reset(seed=derive(self.seed, _RESET, self.episodes))
        self.steps = 0
        self.observation[0] = _finite(observation, "observation", self)

    def step(self, action: np.ndarray) -> tuple[bool, bool]:
        """Take one step, note it, and say whether the episode is over and whether it was terminated."""
        observation, reward, terminated, truncated, _ = self.env.step(action)
        self.action[self.steps] = action
        self.reward[self.steps] = _finite(reward, "reward", self)
        self.steps += 1
        self.observation[self.steps] = _finite(observation, "observation", self)
        over = terminated or truncated
        if self.steps == len(self.action) and not over:
            raise LareError(
                f"max_steps: the environment runs past {self.steps} steps without ending; "
                "set max_steps of the task to its time limit"
            )
        return over, bool(terminated)

    def replay(self, actions: np.ndarray) -> None:
        """Bring the environment back to where an unfinished episode stood, by taking its actions again."""
        expected = self.observation[len(actions)].copy()
        self.reset()
        for action in actions:
            self.step(action)
        if not np.allclose(self.observation[self.steps], expected, rtol=1e-5, atol=1e-5):
            raise LareError(
                f"resume: {self.env.spec.id if self.env.spec else 'the environment'} did not repeat its steps from "
                "the same seed and actions, so this run cannot be resumed exactly; start a new run"
            )


def derive(*path: int) -> int:
    """A 32-bit seed that depends on every number of ``path``: (run seed, purpose, counter)."""
    return int(np.random.SeedSequence(path).generate_state(1)[0])


def _finite(value, name: str, track: Track) -> np.ndarray:
    """``value`` in the precision it is stored in, or an error that tells where it stopped being a number."""
    stored = np.asarray(value, np.float32)
    if not np.isfinite(stored).all():
        raise LareError(
            f"{name}: the environment returned {np.asarray(value)!r} at step {track.steps} of episode "
            f"{track.episodes} (seed {track.seed}); every {name} must be a finite float32, so mend the environment"
        )
    return stored


class OffPolicy:
    """A training in progress: learner state on the device, one track per seed on the host."""

    def __init__(
        self,
        learner: Learner,
        schedule: Schedule,
        seeds: Sequence[int],
        make_env: Callable[[], gymnasium.Env],
    ):
        """Build environments and a fresh learner for ``seeds``; no step is taken yet."""
        self.learner, self.schedule, self.seeds = learner, schedule, tuple(seeds)
        keys = jax.vmap(jax.random.key)(np.asarray(seeds))
        self._keys = [
            jax.vmap(jax.random.fold_in, (0, None))(keys, purpose) for purpose in (_ACT, _UPDATE, _INIT)
        ]
        self.state: State = core.init(learner, self._keys[_INIT])
        horizon, sizes = learner.horizon, (learner.observation_size, learner.action_size)
        self.tracks = [
            Track(
                seed,
                make_env(),
                np.zeros((horizon + 1, sizes[0]), np.float32),
                np.zeros((horizon, sizes[1]), np.float32),
                np.zeros(horizon, np.float32),
            )
            for seed in seeds
        ]
        self._evaluation = [[make_env() for _ in range(schedule.evaluation_episodes)] for _ in seeds]
        middle, half = np.asarray(learner.actions.middle), np.asarray(learner.actions.half_width)
        self._low, self._high = middle - half, middle + half
        self.step = 0
        self._stored = False
        self._due = 0  # steps whose update has not been started
        self._losses: dict = {}
        self._noise_block: tuple[int, np.ndarray] = (-1, np.empty(0))  # which block of steps, and their noise
        self._clock = time.perf_counter()
        self._clock_step = 0
        for track in self.tracks:
            track.reset()

    def advance(self, until: int | None = None) -> None:
        """Take one step in every seed's environment, learning meanwhile; ``until`` lies at least one step ahead."""
        learning = self.step >= self.schedule.warmup and self._stored
        if self.step >= self.schedule.warmup:
            observation = np.stack([track.observation[track.steps] for track in self.tracks])
            actor, noise = self.state.agent.actor, self._noise()
            actions = np.asarray(core.explore(self.learner, actor, observation, noise))
        else:
            actions = np.stack([self._random_action(track.seed) for track in self.tracks])
        if learning:
            self._due += 1
            if self.step % self.learner.agent.policy_delay == 0:
                self._update(self.step, update_actor=True)
        ended, terminated = zip(*(t.step(a) for t, a in zip(self.tracks, actions, strict=True)), strict=True)
        self.step += 1
        if any(ended):
            self.settle()
            self._absorb(np.asarray(ended), np.asarray(terminated))

    def _noise(self) -> np.ndarray:
        block, index = divmod(self.step, _NOISE_STEPS)
        if block != self._noise_block[0]:
            steps = np.arange(block * _NOISE_STEPS, (block + 1) * _NOISE_STEPS, dtype=np.int32)
            self._noise_block = block, np.asarray(core.exploration(self.learner, self._keys[_ACT], steps))
        return self._noise_block[1][index]

    def _random_action(self, seed: int) -> np.ndarray:
        random = np.random.default_rng((seed, _WARM_UP, self.step))
        return random.uniform(self._low, self._high).astype(np.float32)

    def settle(self) -> None:
        """Make the updates that are due, so that ``state`` is that of the present step.

        Until the actor's turn they change nothing an environment sees, so ``advance`` leaves them for one call.
        """
        if self._due:
            self._update(self.step - 1, update_actor=False)

    def _update(self, last: int, *, update_actor: bool) -> None:
        agent, decomposer, self._losses = core.update(
            self.learner,
            self.state.agent,
            self.state.decomposer,
            self.state.replay,
            self._keys[_UPDATE],
            np.int32(last - self._due + 1),
            np.int32(self._due),
            np.bool_(update_actor),
        )
        self.state = self.state._replace(agent=agent, decomposer=decomposer)
        self._due = 0

    def _absorb(self, ended: np.ndarray, terminated: np.ndarray) -> None:
        episode = Episode(
            observation=jnp.asarray(np.stack([track.observation for track in self.tracks])),
            action=jnp.asarray(np.stack([track.action for track in self.tracks])),
            reward=jnp.asarray(np.stack([track.reward for track in self.tracks])),
            terminated=jnp.asarray(terminated),
            length=jnp.asarray(np.where(ended, [track.steps for track in self.tracks], 0), jnp.int32),
        )
        decomposer, replay, credit = core.absorb(
            self.learner, self.state.decomposer, self.state.replay, episode
        )
        self.state = self.state._replace(decomposer=decomposer, replay=replay)
        credit = np.asarray(credit)
        for index in np.flatnonzero(ended):
            track = self.tracks[index]
            reward = track.reward[: track.steps]
            track.monitor = monitor.note_episode(track.monitor, credit[index, : track.steps], reward)
            track.training_return = float(reward.sum())
            track.episodes += 1
            track.reset()
        self._stored = all(track.episodes > 0 for track in self.tracks)

    def save(self, path: Path, config: str) -> None:
        """Write a checkpoint: the learner's arrays (of the replay only what was written) and the tracks."""
        self.settle()
        arrays = {name: np.asarray(leaf) for name, leaf in checkpoint.named(self.state, "state").items()}
        for name, rows in written(self.state.replay).items():
            arrays[f"state.replay.{name}"] = arrays[f"state.replay.{name}"][:, :rows]
        for index, track in enumerate(self.tracks):
            arrays[f"track{index}.observation"] = track.observation[: track.steps + 1]
            arrays[f"track{index}.action"] = track.action[: track.steps]
            arrays[f"track{index}.monitor"] = track.monitor
        tracks = [[track.seed, track.episodes, track.training_return] for track in self.tracks]
        checkpoint.write(path, arrays, {"step": self.step, "tracks": tracks}, config)

    def restore(self, path: Path, config: str) -> None:
        """Go to where a checkpoint left off, unfinished episodes included."""
        stored = checkpoint.read(path, config)
        self.state = checkpoint.restored(self.state, "state", stored)
        self.step = stored.header["step"]
        for index, track in enumerate(self.tracks):
            _, track.episodes, track.training_return = stored.header["tracks"][index]
            actions = stored.array(f"track{index}.action")
            track.observation[: len(actions) + 1] = stored.array(f"track{index}.observation")
            track.monitor = stored.array(f"track{index}.monitor")
            track.replay(actions)
        self._stored = all(track.episodes > 0 for track in self.tracks)
        self._clock, self._clock_step = time.perf_counter(), self.step

    def evaluate(self) -> list[Report]:
        """Play the fixed evaluation episodes with the deterministic policy and report on every seed."""
        self.settle()
        jax.block_until_ready(self.state.agent)
        elapsed, self._clock = time.perf_counter() - self._clock, time.perf_counter()
        speed = (self.step - self._clock_step) / max(elapsed, 1e-9)
        self._clock_step = self.step
        seeds = [
            [derive(seed, _EVALUATION, episode) for episode in range(self.schedule.evaluation_episodes)]
            for seed in self.seeds
        ]
        returns = play(self.learner, self.state.agent.actor, self._evaluation, seeds)
        losses = {name: np.asarray(value) for name, value in self._losses.items()}
        nothing = np.full(len(self.seeds), np.nan)
        reports = [
            self._report(
                track,
                returns[index],
                float(losses.get("decoder_loss", nothing)[index]),
                float(losses.get("critic_loss", nothing)[index]),
                speed,
            )
            for index, track in enumerate(self.tracks)
        ]
        self._clock = time.perf_counter()
        return reports

    def _report(
        self, track: Track, returns: np.ndarray, decoder_loss: float, critic_loss: float, speed: float
    ) -> Report:
        if self._losses and not np.isfinite(critic_loss):
            raise LareError(
                f"critic_loss: it is {critic_loss} at step {self.step}, so training has diverged; check the "
                "environment for huge rewards or observations, or lower the agent's learning_rate"
            )
        quality = monitor.credit_quality(track.monitor)
        learning = self.state.decomposer is not None and self.step > self.schedule.warmup
        return Report(
            seed=track.seed,
            step=self.step,
            episodes=track.episodes,
            return_mean=float(returns.mean()),
            return_std=float(returns.std()),
            training_return=track.training_return,
            decoder_loss=decoder_loss,
            critic_loss=critic_loss,
            explained_variance=quality.explained_variance,
            credit_correlation=quality.correlation,
            proxy_spread=quality.spread,
            steps_per_second=speed,
            warning=monitor.verdict(quality) if learning else "",
        )

    def close(self) -> None:
        """Close every environment."""
        for env in [track.env for track in self.tracks] + [env for row in self._evaluation for env in row]:
            env.close()


def play(learner: Learner, actor, envs: list[list[gymnasium.Env]], seeds: list[list[int]]) -> np.ndarray:
    """Returns ``[seed, env]`` of one deterministic episode in each environment, stepped side by side."""
    observation = np.array(
        [
            [env.reset(seed=seed)[0] for env, seed in zip(row, row_seeds, strict=True)]
            for row, row_seeds in zip(envs, seeds, strict=True)
        ],
        np.float32,
    )
    returns = np.zeros(observation.shape[:2])
    running = np.ones(observation.shape[:2], bool)
    while running.any():
        actions = np.asarray(core.exploit(learner, actor, observation))
        for index in zip(*np.nonzero(running), strict=True):
            result = envs[index[0]][index[1]].step(actions[index])
            observation[index], reward, terminated, truncated = result[:4]
            returns[index] += float(reward)
            running[index] = not (terminated or truncated)
    return returns
