"""Credit inside Stable-Baselines3 and SBX: a replay buffer for SAC, TD3 and the like, a wrapper for PPO and A2C.

    credit = lr.Credit("Reacher-v5")
    SAC("MlpPolicy", "Reacher-v5", replay_buffer_class=CreditReplayBuffer, replay_buffer_kwargs={"credit": credit})
    PPO("MlpPolicy", CreditVecEnv(make_vec_env("Reacher-v5", 4), credit))

The environment's rewards are summed to the return of an episode, and the agent never sees them.
"""

from typing import Any

import gymnasium
import numpy as np

from latent_reward.adapters.collector import Collector, check_credit
from latent_reward.errors import LareError
from latent_reward.library.credit import Credit

try:
    from stable_baselines3.common.buffers import ReplayBuffer  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.type_aliases import (  # pyright: ignore[reportMissingImports]
        ReplayBufferSamples,
    )
    from stable_baselines3.common.vec_env import (  # pyright: ignore[reportMissingImports]
        VecEnv,
        VecEnvWrapper,
        VecNormalize,
        is_vecenv_wrapped,
    )
except ImportError as error:
    raise LareError(
        f"adapters.sb3: it needs the package stable_baselines3 ({error}); "
        'install it with: pip install "latent-reward[sb3]"'
    ) from error


class CreditReplayBuffer(ReplayBuffer):
    """A replay buffer whose rewards are the present credit of the sampled steps, in the environment's units.

    Finished episodes are added to the credit and fitted at once. Rewards are decoded when a batch is sampled, so that
    all stored steps follow the credit as it improves. They are zero as long as no episode has ended. The column
    ``rewards`` of the buffer is not used; it stays zero.

    Args:
        buffer_size: steps that are kept, of all environments together.
        observation_space: a Box with one axis.
        action_space: a Box with one axis, or Discrete.
        device: where batches are put.
        n_envs: parallel environments.
        optimize_memory_usage: must be False.
        handle_timeout_termination: whether an episode that a time limit ended counts as not done.
        credit: what learns which steps earned the returns.
        updates_per_step: updates of the credit per step of a finished episode. 0 uses a trained credit as it is:
            episodes are neither added nor fitted.
        max_updates: most updates at a time.
        fit_first: fewest updates after each of the first ten episodes.

    Raises:
        LareError: the credit does not fit the spaces or has no reward for single steps, or a setting is not possible.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: Any,
        action_space: Any,
        device: Any = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        handle_timeout_termination: bool = True,
        *,
        credit: Any = None,
        updates_per_step: float = 1.0,
        max_updates: int = 1000,
        fit_first: int = 100,
    ):
        """See the class."""
        if credit is None:
            raise LareError('credit: it is missing; give replay_buffer_kwargs={"credit": credit}')
        check_credit(credit, observation_space, action_space)
        if optimize_memory_usage:
            raise LareError(
                "optimize_memory_usage: credit needs the last observation of each episode, which this setting "
                "overwrites; leave it out"
            )
        super().__init__(
            buffer_size,
            observation_space,
            action_space,
            device,
            n_envs,
            handle_timeout_termination=handle_timeout_termination,
        )
        self.collector = Collector(credit, n_envs, updates_per_step, max_updates, fit_first)
        self.terminated = np.zeros((self.buffer_size, n_envs), bool)

    @property
    def credit(self) -> Credit:
        """The credit that rewards come from."""
        return self.collector.credit

    def add(
        self,
        obs: np.ndarray,
        next_obs: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        done: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        """Store one step of every environment, and learn from the episodes that end with it.

        Args:
            obs: before the step, ``(env, o)``.
            next_obs: after the step, the last of an episode if it ended, ``(env, o)``.
            action: as the algorithm stores it, in [-1, 1], ``(env, a)``; whole numbers where actions are discrete.
            reward: the environment's, ``(env,)``; only its sum over an episode is used.
            done: whether an episode ended, ``(env,)``.
            infos: with ``TimeLimit.truncated`` where a time limit ended it.

        Raises:
            LareError: an episode is longer than the credit's horizon, or has a number that is not finite.
        """
        done = np.asarray(done, bool)
        terminated = done & ~np.array([info.get("TimeLimit.truncated", False) for info in infos], bool)
        self.terminated[self.pos] = terminated
        stored = np.asarray(action).reshape(self.n_envs, self.action_dim)
        super().add(obs, next_obs, stored, np.zeros(self.n_envs, np.float32), done, infos)
        self.collector.add(obs, self._in_units(stored), next_obs, reward, done, terminated)

    def _get_samples(self, batch_inds: np.ndarray, env: VecNormalize | None = None) -> ReplayBufferSamples:
        envs = np.random.randint(0, self.n_envs, size=len(batch_inds))  # noqa: NPY002 - the library's generator
        row = (batch_inds, envs)
        before, acted, after = self.observations[row], self.actions[row], self.next_observations[row]
        reward = self.collector.reward(before, self._in_units(acted), after, self.terminated[row])
        data: tuple[Any, ...] = (
            self._normalize_obs(before, env),
            acted,
            self._normalize_obs(after, env),
            (self.dones[row] * (1 - self.timeouts[row])).reshape(-1, 1),
            self._normalize_reward(reward.reshape(-1, 1), env),
        )
        return ReplayBufferSamples(*map(self.to_torch, data))

    def _in_units(self, stored: np.ndarray) -> np.ndarray:
        """Actions ``(batch, a)`` as the environment received them; ``(batch,)`` where they are discrete."""
        if not isinstance(self.action_space, gymnasium.spaces.Box):
            return stored[:, 0]
        low, high = self.action_space.low, self.action_space.high
        return low + 0.5 * (stored + 1.0) * (high - low)


class CreditVecEnv(VecEnvWrapper):
    """Environments whose reward of a step is its present credit, for algorithms that learn from what they just played.

    Finished episodes are added to the credit and fitted at once. Rewards are zero until the first episode has ended.
    The environment's own reward is in ``infos[i]["true_reward"]``. A Monitor or VecMonitor inside the wrapper sees the
    true rewards, so that episode statistics stay true; one around it sees the credit.

    Args:
        venv: environments with observations in a Box with one axis. VecNormalize belongs around this wrapper, not in
            it: credit reads raw observations and returns.
        credit: what learns which steps earned the returns.
        updates_per_step: updates of the credit per step of a finished episode. 0 uses a trained credit as it is:
            episodes are neither added nor fitted.
        max_updates: most updates at a time.
        fit_first: fewest updates after each of the first ten episodes.

    Raises:
        LareError: the credit does not fit the spaces or has no reward for single steps, or a setting is not possible.
    """

    def __init__(
        self,
        venv: Any,
        credit: Any,
        updates_per_step: float = 1.0,
        max_updates: int = 1000,
        fit_first: int = 100,
    ):
        """See the class."""
        if not isinstance(venv, VecEnv):
            raise LareError(
                f"venv: {type(venv).__name__} is not possible; make a VecEnv, for example with make_vec_env"
            )
        if is_vecenv_wrapped(venv, VecNormalize):
            raise LareError(
                "venv: VecNormalize inside changes what credit reads; use VecNormalize(CreditVecEnv(…)) instead"
            )
        check_credit(credit, venv.observation_space, venv.action_space)
        super().__init__(venv)
        self.collector = Collector(credit, venv.num_envs, updates_per_step, max_updates, fit_first)
        self._before, self._acted = np.empty(0), np.empty(0)

    @property
    def credit(self) -> Credit:
        """The credit that rewards come from."""
        return self.collector.credit

    def reset(self) -> Any:
        """Reset all environments; the steps of unfinished episodes are dropped. Returns ``(env, o)``."""
        self.collector.forget()
        observation = self.venv.reset()
        self._before = np.array(observation)
        return observation

    def step_async(self, actions: np.ndarray) -> None:
        """Start a step with actions in the environment's units, ``(env, a)`` or ``(env,)``."""
        self._acted = np.array(actions)
        self.venv.step_async(actions)

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """The step's observations ``(env, o)``, credit ``(env,)``, ends ``(env,)`` and infos.

        Raises:
            LareError: an episode is longer than the credit's horizon, or has a number that is not finite.
        """
        observation, paid, done, infos = self.venv.step_wait()
        infos = [{**info, "true_reward": float(reward)} for info, reward in zip(infos, paid, strict=True)]
        after = np.array(observation)
        for env in np.flatnonzero(done):
            after[env] = infos[env]["terminal_observation"]
        terminated = done & ~np.array([info.get("TimeLimit.truncated", False) for info in infos], bool)
        reward = self.collector.reward(self._before, self._acted, after, terminated)
        self.collector.add(self._before, self._acted, after, paid, done, terminated)
        self._before = np.array(observation)
        return observation, reward, done, infos
