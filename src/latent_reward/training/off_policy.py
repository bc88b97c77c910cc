"""The off-policy loop: a host environment per seed, one compiled update per step.

Every step, for all seeds side by side:
    1. choose actions: uniformly random during the warm-up, then policy plus noise;
    2. when the actor is due, start the compiled update of all steps since its last update. It runs while the
       environments step, because it needs only finished episodes;
    3. step the environments, recording the hidden rewards;
    4. where an episode ends, store it and start the next one from its own seed.
Every ``evaluate_every`` steps the deterministic policy plays fixed, seeded episodes.

No random number depends on history: keys come from (seed, step), resets from (seed, episode number). So a checkpoint
needs only the learner's arrays and the actions of the unfinished episode, which are replayed on resume. Where an
environment fails in a step, the actions of that step are kept as well: a resumed run takes them first.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from latent_reward import checkpoint
from latent_reward.credit import metrics
from latent_reward.data import buffer as ring
from latent_reward.data.spaces import Continuous
from latent_reward.envs.base import HostWorld, close
from latent_reward.envs.noise import with_noise
from latent_reward.envs.recorder import Recorder, blank
from latent_reward.errors import LareError
from latent_reward.reading import Count
from latent_reward.report.evaluation import Report
from latent_reward.rng import HostPurpose, OffPolicyPurpose, keys_for, seed_for
from latent_reward.training import from_replay as core
from latent_reward.training.callbacks import EpisodeEnd, OnEpisode
from latent_reward.training.from_replay import ReplayLearner
from latent_reward.training.learner import State, TeamLearner, require_finite_latents, saved
from latent_reward.training.plan import Plan, Replay
from latent_reward.training.players import Copies, Results
from latent_reward.training.slot import EnvSlot
from latent_reward.training.unfinished import read_begun, read_unfinished

_NOISE_STEPS = 256  # steps whose exploration noise is drawn in one call


def replay_learner(teams: tuple[TeamLearner, ...], plan: Plan) -> ReplayLearner:
    """The learner of a run, from that of its team.

    Raises:
        LareError: there is more than one agent.
    """
    assert isinstance(plan.experience, Replay)
    if len(teams) != 1 or teams[0].credit.agents != 1:
        raise LareError(f"agent: {plan.agent.kind} trains a single agent; train teams with ppo")
    horizon = teams[0].bags * teams[0].credit.horizon
    return ReplayLearner(
        teams[0],
        plan.experience.batch_size,
        min(plan.experience.buffer_size, max(plan.rounds, horizon)),
        plan.experience.refresh_episodes,
    )


class OffPolicy:
    """A training in progress: learner state on the device, one environment per seed on the host."""

    def __init__(
        self,
        learner: ReplayLearner,
        plan: Plan,
        seeds: Sequence[int],
        world: HostWorld,
        on_episode: OnEpisode | None = None,
    ):
        """Build environments and a fresh learner for ``seeds``; no step is taken yet."""
        self._on_episode = on_episode
        self.learner, self.plan, self.seeds, self.world = learner, plan, tuple(seeds), world
        assert isinstance(plan.experience, Replay)
        self.warmup = plan.experience.warmup
        purposes = OffPolicyPurpose.ACT, OffPolicyPurpose.UPDATE, OffPolicyPurpose.FEEDBACK
        self._act_keys, self._update_keys, self._told_keys = (keys_for(seeds, each) for each in purposes)
        self.state: State = core.init(learner, keys_for(seeds, OffPolicyPurpose.INIT))
        self.arrays = blank(world, 0, len(seeds))
        played = with_noise(world, learner.team.feedback.observation_noise)
        self.slots = [
            EnvSlot(seed, Recorder(played, played.make(None), index, (self.arrays,)))
            for index, seed in enumerate(seeds)
        ]
        self.player = DeterministicPlayer(learner, seeds, world)
        self.step = 0
        self.pending_updates = 0  # steps whose update has not been started
        self._begun: np.ndarray | None = None  # the actions of a step that not every environment has taken
        self._taken: list[int] = []  # steps that each environment had taken before that one
        self._stored = False
        self._losses: dict[str, Any] = {}
        self._noise_block: tuple[int, np.ndarray] = (-1, np.empty(0))  # which block of steps, and their noise
        self._clock = time.perf_counter()
        self._clock_step = 0
        for slot in self.slots:
            slot.reset()

    @property
    def steps_per_round(self) -> int:
        """A round is one environment step."""
        return 1

    @property
    def states(self) -> tuple[State, ...]:
        """The state of each team; there is one."""
        return (self.state,)

    def advance(self, until: int | None = None) -> None:
        """Take one step in every seed's environment and learn meanwhile; ``until`` is at least one step ahead."""
        if self._begun is None:
            self._begun = self._choose()
        self._taken = [slot.recorder.steps for slot in self.slots]
        running = [slot.recorder.step([action]) for slot, action in zip(self.slots, self._begun, strict=True)]
        self._begun = None
        self.step += 1
        if not all(running):
            self.flush_updates()
            self._store(~np.asarray(running))

    def _choose(self) -> np.ndarray:
        """The actions of this step, and the start of the updates that are due."""
        learning = self.step >= self.warmup and self._stored
        if self.step >= self.warmup:
            observation = np.stack([slot.observation for slot in self.slots])
            actor, noise = self.learner.agent.actor(self.state.agent), self._noise()
            actions = np.asarray(core.explore(self.learner, actor, observation, noise))
        else:
            actions = np.stack([self._random_action(slot.seed) for slot in self.slots])
        if learning:
            self.pending_updates += 1
            if self.step % self.learner.agent.policy_delay == 0:
                self._update(self.step, update_actor=True)
        return actions

    def _noise(self) -> np.ndarray:
        block, index = divmod(self.step, _NOISE_STEPS)
        if block != self._noise_block[0]:
            steps = np.arange(block * _NOISE_STEPS, (block + 1) * _NOISE_STEPS, dtype=np.int32)
            self._noise_block = block, np.asarray(core.exploration(self.learner, self._act_keys, steps))
        return self._noise_block[1][index]

    def _random_action(self, seed: int) -> np.ndarray:
        actions = self.learner.team.spec.actions
        assert isinstance(actions, Continuous)
        random = np.random.default_rng((seed, int(HostPurpose.WARM_UP), self.step))
        size = (self.learner.team.credit.agents, actions.size)
        low, high = (np.asarray(bound, np.float32) for bound in (actions.low, actions.high))
        return random.uniform(low, high, size).astype(np.float32)

    def flush_updates(self) -> None:
        """Make the pending updates, so that ``state`` is that of the current step.

        Until the actor is updated they do not change any action, so ``advance`` collects them for one call.
        """
        if self.pending_updates:
            self._update(self.step - (self._begun is None), update_actor=False)

    def _update(self, last: int, *, update_actor: bool) -> None:
        agent, credit, self._losses = core.update(
            self.learner,
            self.state.agent,
            self.state.credit,
            self.state.buffer,
            self._update_keys,
            np.int32(last - self.pending_updates + 1),
            np.int32(self.pending_updates),
            np.bool_(update_actor),
        )
        self.state = self.state._replace(agent=agent, credit=credit)
        self.pending_updates = 0

    def _store(self, ended: np.ndarray) -> None:
        played = jax.tree.map(np.array, self.arrays)  # copies: the next episode is written over the arrays
        played.mask[~ended] = False
        broken = core.broken_latents(self.learner, played)
        require_finite_latents(self.learner.team, broken, self.seeds, [slot.episodes for slot in self.slots])
        numbers = np.array([slot.episodes for slot in self.slots], np.uint32)
        keys = jax.vmap(jax.random.fold_in)(self._told_keys, numbers)
        self.state, reward = core.store(self.learner, self.state, played, keys)
        if self.learner.team.method.reads == "episode":
            first = np.int32(max(slot.episodes for slot in self.slots) * self.learner.refresh_episodes)
            buffer = core.refresh(self.learner, self.state.credit, self.state.buffer, first)
            self.state = self.state._replace(buffer=buffer)
        rows = metrics.episode_sums(
            np.asarray(reward, np.float64), played.reward.astype(np.float64), played.mask
        )
        for index in np.flatnonzero(ended):
            slot = self.slots[index]
            slot.window = metrics.push(slot.window, rows[index : index + 1])
            slot.training_return = float(played.reward[index, : slot.recorder.steps].sum())
            if self._on_episode:
                length = slot.recorder.steps
                self._on_episode(
                    EpisodeEnd(slot.seed, "", self.step, slot.episodes, slot.training_return, length)
                )
            slot.episodes += 1
            slot.recorder.forget()
        self._stored = all(slot.episodes > 0 for slot in self.slots)
        for index in np.flatnonzero(ended):
            self.slots[index].reset()

    def save(self, path: Path, config: str) -> None:
        """Write a checkpoint: the learner's arrays, and the unfinished episode of each seed.

        This is also possible after an environment has failed, or was interrupted, in ``advance`` or ``evaluate``.
        """
        self.flush_updates()
        taken = [slot.recorder.steps for slot in self.slots] if self._begun is None else self._taken
        unfinished = [
            {
                # nothing was seen yet where the reset has failed
                "observation": self.arrays.observation[index, steps][: None if slot.recorder.playing else 0],
                "action": self.arrays.action[index, :steps],
                "window": slot.window,
            }
            for index, (slot, steps) in enumerate(zip(self.slots, taken, strict=True))
        ]
        slots = [[slot.seed, slot.episodes, slot.training_return] for slot in self.slots]
        begun = {} if self._begun is None else {"begun": self._begun}
        checkpoint.write(
            path,
            {
                **checkpoint.named(saved(self.states), "state"),
                **checkpoint.named(unfinished, "slot"),
                **begun,
            },
            {"step": self.step, "slots": slots, **dict.fromkeys(begun, True)},
            config,
        )

    def restore(self, path: Path, config: str, *, drop_unfinished: bool = False) -> None:
        """Restore the state of a checkpoint.

        Unfinished episodes are played again up to where they were, or begun again with ``drop_unfinished``.

        Raises:
            LareError: the checkpoint does not fit, or an environment does not repeat its steps.
        """
        stored = checkpoint.read(path, config)
        assert self.state.buffer is not None
        buffer = ring.as_long_as(self.state.buffer, lambda name: stored.array(f"state[0].buffer{name}"))
        (self.state,) = checkpoint.restored((self.state._replace(buffer=buffer),), "state", stored)
        self.step = stored.value("step", Count)
        unfinished = read_unfinished(stored, [slot.seed for slot in self.slots], self.arrays)
        self._begun = read_begun(stored, self.arrays)
        for slot, left in zip(self.slots, unfinished, strict=True):
            slot.episodes, slot.training_return, slot.window = left[:3]
            if drop_unfinished or not left.observation.size:
                slot.reset()
            else:
                slot.replay(left.action, left.observation)
        self._stored = all(slot.episodes > 0 for slot in self.slots)
        self._clock, self._clock_step = time.perf_counter(), self.step

    def evaluate(self) -> list[Report]:
        """Play the fixed evaluation episodes with the deterministic policy and report on every seed."""
        self.flush_updates()
        jax.block_until_ready(self.state.agent)
        elapsed, self._clock = time.perf_counter() - self._clock, time.perf_counter()
        speed = (self.step - self._clock_step) / max(elapsed, 1e-9)
        self._clock_step = self.step
        ((returns, _),) = self.player.evaluate(self.states, self.plan.evaluation_episodes)
        losses = {name: np.asarray(value) for name, value in self._losses.items()}
        uncertainty = np.asarray(core.uncertainty(self.learner, self.state))
        reports = [
            self._report(
                index,
                returns[index],
                {name: float(loss[index]) for name, loss in losses.items()},
                float(uncertainty[index]),
                speed,
            )
            for index in range(len(self.slots))
        ]
        self._clock = time.perf_counter()
        return reports

    def _report(
        self, index: int, returns: np.ndarray, losses: dict[str, float], uncertainty: float, speed: float
    ) -> Report:
        slot, team = self.slots[index], self.learner.team
        warned = self.step > self.warmup
        losses = {"decoder_loss": np.nan, "critic_loss": np.nan, **losses}
        if self._losses and not np.isfinite(losses["critic_loss"]):
            raise LareError(
                f"critic_loss: it is {losses['critic_loss']} at step {self.step}, so training has diverged; check the "
                "environment for huge rewards or observations, or lower the agent's learning_rate"
            )
        return Report(
            seed=slot.seed,
            team="",
            step=self.step,
            episodes=slot.episodes,
            return_mean=float(returns.mean()),
            return_std=float(returns.std()),
            win_rate=np.nan,
            training_return=slot.training_return,
            losses=losses,
            credit=metrics.measure(slot.window, uncertainty),
            steps_per_second=speed,
            warning=team.warning(slot.window, self.state.credit, index, uncertainty) if warned else "",
        )

    def close(self) -> None:
        """Close every environment."""
        for slot in self.slots:
            close(slot.recorder.env)
        self.player.close()


class DeterministicPlayer:
    """Play seeded episodes without exploration noise."""

    def __init__(self, learner: ReplayLearner, seeds: Sequence[int], world: HostWorld):
        """Nothing is open yet."""
        self.learner, self.seeds, self._copies = learner, tuple(seeds), Copies(world)

    def evaluate(self, states: tuple[State, ...], episodes: int, *, final: bool = False) -> Results:
        """Returns of each seed, whose episodes are played side by side."""
        purpose = HostPurpose.FINAL_EVALUATION if final else HostPurpose.EVALUATION
        resets = [seed_for(seed, purpose, episode) for seed in self.seeds for episode in range(episodes)]

        def where(copy: int) -> str:
            seed, episode = divmod(copy, episodes)
            return f"of evaluation episode {episode} (seed {self.seeds[seed]})"

        (arrays,) = self._copies.play(resets, self._choose(states, len(self.seeds)), where)
        return ((arrays.total.reshape(len(self.seeds), episodes), None),)

    def frames(self, states: tuple[State, ...], seed: int) -> tuple[list[Any], float]:
        """Pictures of one episode of the seed at this position."""
        one = jax.tree.map(lambda leaf: leaf[seed : seed + 1], states)
        return self._copies.film(0, self._choose(one, 1))

    def close(self) -> None:
        """Close every copy."""
        self._copies.close()

    def _choose(self, states: tuple[State, ...], seeds: int):
        actor = self.learner.agent.actor(states[0].agent)

        def choose(step: int, observations: tuple[np.ndarray, ...], _: tuple[np.ndarray | None, ...]):
            (seen,) = observations
            apart = seen.reshape(seeds, -1, *seen.shape[1:])
            action = np.asarray(core.exploit(self.learner, actor, apart))
            return [(action.reshape(len(seen), *action.shape[2:]), np.zeros(seen.shape[:2], np.float32))]

        return choose
