"""Credit as an object that learns from episodes, for trainers and data that are not ours."""

from pathlib import Path
from typing import Any, Literal, SupportsIndex, overload

import jax
import jax.numpy as jnp
import numpy as np

from latent_reward.compilation import use_compilation_cache
from latent_reward.credit import metrics
from latent_reward.credit.methods import Recipe, find_method
from latent_reward.data import buffer as ring
from latent_reward.data.episodes import Episodes
from latent_reward.device import commit
from latent_reward.encoder.encoder import Encoder
from latent_reward.encoder.selection import AnySelection, as_selection
from latent_reward.encoder.view import latents as view_latents
from latent_reward.errors import LareError, require_flags, require_paths, require_positive, require_seed
from latent_reward.library import core, store
from latent_reward.library.episode import Episode, as_episodes, as_steps
from latent_reward.library.store import Learned, Saved
from latent_reward.library.where import AnyEncoder, Where, choose_encoder, find_where, selected
from latent_reward.types import EpisodeFeatures

_WINDOW = 50  # held-out episodes that quality is measured on


class Credit:
    """Assigns credit with any method: add episodes, fit, and ask for the reward of any step.

    >>> credit = Credit("Reacher-v5")                                           # doctest: +SKIP
    >>> credit.add(Episode(observations, actions, ret))                         # doctest: +SKIP
    >>> credit.fit(100)                                                         # doctest: +SKIP
    >>> credit.reward(observation, action, next_observation)                    # doctest: +SKIP

    Arrays are NumPy's or lists, of any numeric type; results are float32, in the environment's units, and may be
    written to. Nothing of an environment or simulator is opened or imported.

    Args:
        task: a task, the name of a built-in one, or the path of a task file.
        observation_space: instead of a task, Gymnasium's space of one agent's observations, or their size.
        action_space: instead of a task, Gymnasium's space of one agent's actions.
        horizon: steps of the longest episode; the task's by default.
        agents: agents of the team; a task of a team says it itself.
        method: a name that ``lare methods`` lists, or a method with settings of your own.
        encoder: an encoder, its folder, the name of a task, or a function
            (:func:`latent_reward.encoder_from_function`); the task's bundled one by default.
        latents: which latents of the encoder are used: their names, or a mapping with ``only``, ``without`` and
            ``junk``; see :class:`~latent_reward.encoder.selection.Selection`.
        capacity: steps that are kept to be fitted on.
        seed: of all random numbers.

    Attributes:
        where: the sizes of what an agent sees and does.
        method: the method with its settings.
        encoder: the encoder; None if the method reads no latents.
        episodes: episodes that were added so far.
        updates: updates that were made so far.

    Raises:
        LareError: something asked for does not exist or does not fit.
    """

    where: Where
    method: Recipe
    encoder: Encoder | None
    episodes: int
    updates: int

    def __init__(
        self,
        task: Any = None,
        *,
        observation_space: Any = None,
        action_space: Any = None,
        horizon: SupportsIndex | None = None,
        agents: SupportsIndex = 1,
        method: Recipe | str = "lare",
        encoder: AnyEncoder | None = None,
        latents: AnySelection = None,
        capacity: SupportsIndex = 1_000_000,
        seed: SupportsIndex = 0,
    ):
        """See the class."""
        number, selection = require_seed(seed), as_selection(latents)
        require_positive(
            agents=agents, capacity=capacity, **({} if horizon is None else {"horizon": horizon})
        )
        steps = None if horizon is None else int(horizon)
        where = find_where(task, observation_space, action_space, steps, int(agents))
        recipe = find_method(method, where.experience)
        (chosen,) = selected((choose_encoder(where, recipe, encoder),), selection, recipe)
        self._start(where, recipe, chosen, int(capacity), number)

    @classmethod
    def trained(
        cls,
        where: Where,
        method: Recipe,
        encoder: Encoder | None,
        state: Any,
        *,
        capacity: int = 1_000_000,
        seed: int = 0,
    ) -> "Credit":
        """A credit that has learned ``state`` already, and has no episodes yet."""
        credit = cls.__new__(cls)
        credit._start(where, method, encoder, capacity, seed, state)
        return credit

    def _start(
        self,
        where: Where,
        method: Recipe,
        encoder: Encoder | None,
        capacity: int,
        seed: int,
        learned: Any = None,
    ) -> None:
        """Set every attribute; ``learned`` is a state of the method, or everything that :meth:`save` saved."""
        use_compilation_cache()
        self.where, self.method, self.encoder = where, method, encoder
        self.capacity, self.seed = capacity, seed
        self._core = core.make_core(where, method.credit, encoder)
        self._key = jax.random.key(seed)
        if not isinstance(learned, Learned):
            if learned is None:
                learned = core.init_state(self._core, jax.random.fold_in(self._key, 0))
            buffer = core.init_buffer(self._core, store.first_capacity(capacity, where.horizon))
            learned = Learned(learned, buffer, metrics.init_window(_WINDOW), 0, 0)
        # each array on its own: what is donated must not be there twice, and belongs to nobody else
        arrays = jax.tree.map(jnp.copy, (learned.state, learned.buffer))
        self._state, self._buffer = commit(arrays)
        self._window, self.episodes, self.updates = learned.window, learned.episodes, learned.updates

    def add(self, *episodes: Episode) -> None:
        """Store finished episodes, and measure how well their returns were predicted before they were seen.

        Raises:
            LareError: an array has the wrong shape or a number that is not finite, the encoder gives one, or ``dense``
                gets no rewards; then nothing is stored.
        """
        checked = [self._checked(each, number) for number, each in enumerate(episodes)]
        for each, (stored, features) in zip(episodes, checked, strict=True):
            self._grow(int(stored.lengths[0]))
            self._state, self._buffer, before = core.store(
                self._core, self._state, self._buffer, stored, features
            )
            paid = np.asarray(stored.hidden_reward, np.float64)
            if each.rewards is None:
                paid = np.full_like(paid, np.nan)
            rows = metrics.episode_sums(np.asarray(before, np.float64), paid, np.asarray(stored.mask))
            rows[:, 2] = np.asarray(stored.returns, np.float64)
            self._window = metrics.push(self._window, rows)
            self.episodes += 1

    def fit(self, updates: SupportsIndex = 1) -> dict[str, float]:
        """Make so many updates on the stored episodes; returns what the last one shows.

        A method that is solved has learned when an episode was added: updates change nothing, and nothing is shown.

        Raises:
            LareError: no episode was added yet, or ``updates`` is below 1.
        """
        require_positive(updates=updates)
        updates = int(updates)
        if not int(self._buffer.newest_episode):
            raise LareError("fit: there are no episodes yet; add some first")
        if not self.method.credit.draws:
            self.updates += updates
            return {}
        key = jax.random.fold_in(self._key, 1)
        first, count = jnp.int32(self.updates), jnp.int32(updates)
        self._state, shown = core.fit(self._core, self._state, self._buffer, key, first, count)
        self.updates += updates
        return {name: float(value) for name, value in shown.items()}

    @overload
    def reward(
        self,
        observation: Any,
        action: Any,
        next_observation: Any,
        terminated: Any = None,
        *,
        return_std: Literal[False] = False,
    ) -> np.ndarray:
        """The reward of each step."""

    @overload
    def reward(
        self,
        observation: Any,
        action: Any,
        next_observation: Any,
        terminated: Any = None,
        *,
        return_std: Literal[True],
    ) -> tuple[np.ndarray, np.ndarray]:
        """The reward of each step and its standard deviation."""

    def reward(
        self,
        observation: Any,
        action: Any,
        next_observation: Any,
        terminated: Any = None,
        *,
        return_std: bool = False,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """The reward of each step, in the environment's units: ``(batch,)``, of teams ``(batch, agents)``.

        Args:
            observation: ``(batch, o)``; of a team ``(batch, agents, o)``. A batch of 0 rows gives an empty result.
            action: ``(batch, a)``, or ``(batch,)`` whole numbers where actions are discrete; of a team with agents.
            next_observation: as ``observation``.
            terminated: ``(batch,)``, of a team also ``(batch, agents)``: whether the episode ended with the step, other
                than by a time limit; False by default.
            return_std: whether to return the standard deviation of each reward as well: how uncertain it is after the
                returns so far. It is infinite before the second episode. Methods that are solved know it.

        Raises:
            LareError: a shape is wrong, a number is not finite, the method has no reward of single steps
                (see :meth:`episode_rewards`), or it does not know how uncertain they are.
        """
        require_flags(return_std=return_std)
        if not self.method.credit.stepwise:
            raise LareError(
                f"method: {self.method.name} has no reward for single steps; use episode_rewards for whole episodes"
            )
        steps, count = as_steps(self.where, observation, action, next_observation, terminated)
        reward = self._alone(np.array(core.decode(self._core, self._state, steps))[:count, 0])
        if not return_std:
            return reward
        deviation = core.deviation(self._core, self._state, steps)
        if deviation is None:
            raise LareError(
                f"return_std: {self.method.name} does not know how uncertain its rewards are; use a method that is "
                "solved, such as lare, linear or gp"
            )
        return reward, self._alone(np.array(deviation)[:count, 0])

    def __call__(self, state: Any, action: Any, next_state: Any, done: Any) -> np.ndarray:
        """The same with the arguments in the order of the reward functions of the library `imitation`."""
        return self.reward(state, action, next_state, done)

    def episode_rewards(self, episode: Episode) -> np.ndarray:
        """The reward of every step of one episode: ``(T,)``, of teams ``(T, agents)``.

        It works with every method. The reference methods need the episode's return, and ``dense`` its rewards.

        Raises:
            LareError: an array has the wrong shape or a number that is not finite.
        """
        self._require_rewards(episode, "episode")
        padded = as_episodes([episode], self.where)
        return self._alone(np.array(core.decode(self._core, self._state, padded))[0, : len(episode)])

    def latents(self, observation: Any, action: Any, next_observation: Any) -> dict[str, np.ndarray]:
        """Each latent of each step by its name, as the encoder gives it for o: ``(batch,)`` or ``(batch, agents)``.

        Arguments are those of :meth:`reward`.

        Raises:
            LareError: the method reads no latents, or a shape is wrong.
        """
        if self.encoder is None:
            raise LareError(
                f"method: {self.method.name} reads no latents; choose one that does, such as lare"
            )
        steps, count = as_steps(self.where, observation, action, next_observation)
        steps = jax.tree.map(jnp.asarray, steps)
        acted = self.where.actions.as_numbers(steps.action)
        rows = [each.reshape(-1, each.shape[-1]) for each in (steps.before, acted, steps.after)]
        values = np.array(view_latents(self.encoder, "current", *rows))
        values = self._alone(values.reshape(len(acted), self.where.agents, -1)[:count])
        return {name: values[..., place].copy() for place, name in enumerate(self.encoder.latent_names)}

    @property
    def quality(self) -> dict[str, float]:
        """How well held-out returns were predicted, over the last 50 episodes; NaN where it cannot be told yet.

        ``explained_variance`` is 1 if every return was predicted before its episode was fitted to, and 0 if a constant
        would have done as well; ``explained_beyond_length`` is 0 if the length of the episodes would have. Those that
        begin with ``credit`` need episodes that were added with their true rewards: see ``docs/metrics.md``.
        """
        return metrics.measure(self._window, self._uncertainty)

    @property
    def warning(self) -> str:
        """Why the credit should not be trusted and what to do, a line for each reason; empty if there is none."""
        if not self.method.credit.learns:
            return ""
        return metrics.warning(self._window, self.worth, self._uncertainty)

    @property
    def worth(self) -> dict[str, float]:
        """What the returns say each latent is worth: reward per standard deviation, the largest first."""
        return self.method.credit.latent_weights(self._core.spec, self._state)

    def save(self, path: str | Path) -> Path:
        """Write everything into a folder, without pickle, from which :meth:`load` goes on to the same numbers.

        Raises:
            LareError: the folder cannot be written.
        """
        learned = Learned(self._state, self._buffer, self._window, self.episodes, self.updates)
        saved = Saved(self.where, self.method, self.encoder, self.capacity, self.seed, learned)
        require_paths(path=path)
        store.write(Path(path), saved)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> "Credit":
        """Read what :meth:`save` wrote; neither the environment nor its packages are needed.

        Raises:
            LareError: the folder holds no credit, or a file of it is damaged or of another version.
        """
        require_paths(path=path)
        saved = store.read(Path(path))
        credit = cls.__new__(cls)
        credit._start(saved.where, saved.method, saved.encoder, saved.capacity, saved.seed, saved.learned)
        return credit

    @property
    def _uncertainty(self) -> float:
        """How uncertain the rewards of the newest episode are, as a share of their variance."""
        return float(core.uncertainty(self._core, self._state, self._buffer))

    def _checked(self, episode: Episode, number: int) -> tuple[Episodes, EpisodeFeatures]:
        """An episode as it is stored, with its features."""
        stored = as_episodes([episode], self.where, [number])
        self._require_rewards(episode, f"episode {number}")
        features = core.encode(self._core, stored)
        core.require_finite(self._core, stored, features, [number])
        return stored, features

    def _require_rewards(self, episode: Episode, place: str) -> None:
        recipe = self.method.credit
        if recipe.needs_step_rewards and episode.rewards is None:
            raise LareError(
                f"{place}: the method dense is the true reward of each step, and rewards are not given; choose another"
            )

    def _alone(self, values: np.ndarray) -> np.ndarray:
        """Without the axis of agents, which comes second, if there is one agent."""
        return values[:, 0] if self.where.agents == 1 else values

    def _grow(self, length: int) -> None:
        """Make room for one more episode in a buffer that is made for less than ``capacity`` steps."""
        buffer = self._buffer
        kept = len(buffer.steps.mask) - self.where.horizon + 1
        if kept < self.capacity and int(buffer.newest_transition) + length > len(buffer.steps.mask):
            larger = core.init_buffer(self._core, min(2 * kept, self.capacity))
            self._buffer = ring.moved(buffer, larger)
