"""Credit as an object that learns from episodes, for trainers and data that are not ours."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import pydantic
from jaxtyping import Array, Float, Int

from latent_reward.compilation import use_compilation_cache
from latent_reward.credit import metrics
from latent_reward.credit.base import CreditSpec, Method
from latent_reward.credit.methods import Recipe, find_method
from latent_reward.data import buffer as ring
from latent_reward.data.buffer import Buffer
from latent_reward.data.episodes import Episodes
from latent_reward.data.spaces import ActionSpace, Continuous, Discrete
from latent_reward.encoder.encoder import Encoder, save
from latent_reward.encoder.view import latents as view_latents
from latent_reward.errors import LareError, require_positive
from latent_reward.files import to_json, write_text
from latent_reward.library.episode import Episode, as_episodes
from latent_reward.library.where import Where, choose_encoder, find_where
from latent_reward.sealing.open import open_encoder
from latent_reward.training import checkpoint
from latent_reward.training.learner import commit
from latent_reward.types import Key

STATE, CARD, FORMAT = "credit.safetensors", "credit.json", 1
_WINDOW = 50  # held-out episodes that quality is measured on


class Credit:
    """Assigns credit with any method: add episodes, fit, and ask for the reward of any step.

    >>> credit = Credit("Reacher-v5")                                           # doctest: +SKIP
    >>> credit.add(Episode(observations, actions, ret))                         # doctest: +SKIP
    >>> credit.fit(100)                                                         # doctest: +SKIP
    >>> credit.reward(observation, action, next_observation)                    # doctest: +SKIP

    Nothing of an environment or simulator is opened or imported. Rewards are in the environment's units.

    Args:
        task: a task, the name of a built-in one, or the path of a task file.
        observation_space: instead of a task, Gymnasium's space of one agent's observations, or their size.
        action_space: instead of a task, Gymnasium's space of one agent's actions.
        horizon: steps of the longest episode; the task's by default.
        agents: agents of the team; a task of a team says it itself.
        method: a name that ``lare methods`` lists, or a method with settings of your own.
        encoder: an encoder, its folder, or the name of a task; the task's bundled one by default.
        capacity: steps that are kept to be fitted on.
        seed: of all random numbers.

    Raises:
        LareError: something asked for does not exist or does not fit.
    """

    def __init__(
        self,
        task: Any = None,
        *,
        observation_space: Any = None,
        action_space: Any = None,
        horizon: int | None = None,
        agents: int = 1,
        method: Recipe | str = "lare",
        encoder: Encoder | str | Path | None = None,
        capacity: int = 1_000_000,
        seed: int = 0,
    ):
        """See the class."""
        require_positive(
            agents=agents, capacity=capacity, **({} if horizon is None else {"horizon": horizon})
        )
        self.where = find_where(task, observation_space, action_space, horizon, agents)
        self.method = find_method(method, self.where.experience) if isinstance(method, str) else method
        self.encoder = choose_encoder(self.where, self.method, encoder)
        self.seed, self.capacity = seed, capacity
        self._start()

    def _start(self) -> None:
        use_compilation_cache()
        where, recipe = self.where, self.method.credit
        self._spec = CreditSpec(
            where.observation_size, where.actions.size, where.agents, where.horizon, self.encoder
        )
        self._key = jax.random.key(self.seed)
        state = recipe.init(self._spec, jax.random.fold_in(self._key, 0))
        buffer = ring.init(
            min(self.capacity, max(1 << 14, 4 * where.horizon)),
            where.horizon,
            where.agents,
            features=recipe.feature_size(self._spec),
        )
        # each array on its own: what is donated must not be there twice
        self._state, self._buffer = commit(jax.tree.map(jnp.copy, (state, buffer)))
        self._window = metrics.init_window(_WINDOW)
        self.episodes = self.updates = 0

    def add(self, *episodes: Episode) -> None:
        """Store finished episodes, and measure how well their returns were predicted before they were seen.

        Raises:
            LareError: an array has the wrong shape or a number that is not finite; then nothing is stored.
        """
        where = self.where
        checked = [
            as_episodes([each], where.horizon, where.agents, where.observation_size, where.actions)
            for each in episodes
        ]
        for each, stored in zip(episodes, checked, strict=True):
            self._grow(int(stored.lengths[0]))
            self._state, self._buffer, before = _add(
                self.method.credit, self._spec, where.actions, self._state, self._buffer, stored
            )
            paid = np.asarray(stored.hidden_reward, np.float64)
            if each.rewards is None:
                paid = np.full_like(paid, np.nan)
            rows = metrics.episode_sums(np.asarray(before, np.float64), paid, np.asarray(stored.mask))
            rows[:, 2] = np.asarray(stored.returns, np.float64)
            self._window = metrics.push(self._window, rows)
            self.episodes += 1

    def fit(self, updates: int = 1) -> dict[str, float]:
        """Make so many updates on the stored episodes; returns what the last one shows.

        Raises:
            LareError: no episode was added yet, or ``updates`` is below 1.
        """
        require_positive(updates=updates)
        if not self.episodes:
            raise LareError("fit: there are no episodes yet; add some first")
        key = jax.random.fold_in(self._key, 1)
        self._state, shown = _fit(
            self.method.credit,
            self._spec,
            self._state,
            self._buffer,
            key,
            jnp.int32(self.updates),
            jnp.int32(updates),
        )
        self.updates += updates
        return {name: float(value) for name, value in shown.items()}

    def reward(
        self, observation: Any, action: Any, next_observation: Any, terminated: Any = None
    ) -> np.ndarray:
        """The reward of each step, in the environment's units: ``(batch,)``, of teams ``(batch, agents)``.

        Args:
            observation: ``(batch, o)``; of a team ``(batch, agents, o)``.
            action: ``(batch, a)``, or ``(batch,)`` whole numbers where actions are discrete; of a team with agents.
            next_observation: as ``observation``.
            terminated: ``(batch,)``, whether the episode ended with the step; False by default.

        Raises:
            LareError: a shape is wrong, or the method reads whole episodes (:meth:`episode_rewards`) or hidden rewards.
        """
        recipe = self.method.credit
        if recipe.reads == "episode" or recipe.reference:
            raise LareError(
                f"method: {self.method.name} has no reward for single steps; use episode_rewards for whole episodes"
            )
        steps, count = self._steps(observation, action, next_observation, terminated)
        reward = np.array(_decode(recipe, self._spec, self.where.actions, self._state, steps))[:count, 0]
        return reward[:, 0] if self.where.agents == 1 else reward

    def __call__(self, state: Any, action: Any, next_state: Any, done: Any) -> np.ndarray:
        """The reward function that the library `imitation` expects."""
        return self.reward(state, action, next_state, done)

    def episode_rewards(self, episode: Episode) -> np.ndarray:
        """The reward of every step of one episode: ``(T,)``, of teams ``(T, agents)``.

        Raises:
            LareError: an array has the wrong shape.
        """
        where = self.where
        padded = as_episodes([episode], where.horizon, where.agents, where.observation_size, where.actions)
        rewards = np.array(_decode(self.method.credit, self._spec, where.actions, self._state, padded))
        rewards = rewards[0, : len(episode)]
        return rewards[:, 0] if where.agents == 1 else rewards

    def latents(self, observation: Any, action: Any, next_observation: Any) -> dict[str, np.ndarray]:
        """Each latent of each step by its name, as the encoder gives it for o: ``(batch,)`` or ``(batch, agents)``.

        Raises:
            LareError: the method reads no latents, or a shape is wrong.
        """
        if self.encoder is None:
            raise LareError(f"method: {self.method.name} reads no latents")
        steps, count = self._steps(observation, action, next_observation, None)
        acted = self.where.actions.as_numbers(steps.action)
        rows = [each.reshape(-1, each.shape[-1]) for each in (steps.before, acted, steps.after)]
        values = np.array(view_latents(self.encoder, "current", *rows)).reshape(
            len(acted), self.where.agents, -1
        )
        values = values[:count, 0] if self.where.agents == 1 else values[:count]
        return {name: values[..., place].copy() for place, name in enumerate(self.encoder.latent_names)}

    @property
    def quality(self) -> dict[str, float]:
        """How well held-out returns were predicted, over the last episodes; NaN where it cannot be told yet.

        ``credit_correlation`` needs episodes that were added with their true rewards.
        """
        return metrics.measure(self._window)

    @property
    def warning(self) -> str:
        """What is wrong with the credit, and what to try; empty if nothing is."""
        return metrics.warning(self._window) if self.method.credit.learns else ""

    @property
    def worth(self) -> dict[str, float]:
        """What the returns say each latent is worth: reward per standard deviation, the largest first."""
        return self.method.credit.latent_weights(self._spec, self._state)

    def save(self, path: str | Path) -> Path:
        """Write everything into a folder, without pickle, from which :meth:`load` goes on to the same numbers.

        Raises:
            LareError: the folder cannot be written.
        """
        folder, where = Path(path), self.where
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if self.encoder is not None:
                save(self.encoder, folder / "encoder")
            card = {
                "format": FORMAT,
                "method": self.method,
                "name": where.name,
                "observation_size": where.observation_size,
                "actions": where.actions,
                "agents": where.agents,
                "horizon": where.horizon,
                "capacity": self.capacity,
                "seed": self.seed,
            }
            write_text(folder / CARD, to_json(card, indent=1) + "\n")
        except OSError as error:
            raise LareError(f"path: cannot write {folder}: {error}; choose another") from error
        seeds = jax.tree.map(lambda leaf: leaf[None], self._buffer)
        arrays = checkpoint.named((self._state, ring.trimmed(seeds)), "credit")
        arrays |= checkpoint.named((self._window,), "window")
        header = {"episodes": self.episodes, "updates": self.updates, "rows": len(self._buffer.row_of)}
        checkpoint.write(folder / STATE, arrays, header, "{}")
        return folder

    @classmethod
    def load(cls, path: str | Path) -> "Credit":
        """Read what :meth:`save` wrote; neither the environment nor its packages are needed.

        Raises:
            LareError: the folder holds no credit, or a file of it is damaged.
        """
        folder = Path(path)
        try:
            stored = _Card.model_validate_json((folder / CARD).read_text("utf-8"))
        except OSError as error:
            raise LareError(
                f"path: {folder} holds no credit ({CARD} is missing); give the folder of one"
            ) from error
        except (pydantic.ValidationError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise LareError(f"path: {folder / CARD} is damaged: {reason[:200]}; restore the file") from error
        credit = cls.__new__(cls)
        credit.where = Where(
            stored.name, stored.observation_size, stored.actions, stored.agents, stored.horizon
        )
        credit.method, credit.seed, credit.capacity = stored.method, stored.seed, stored.capacity
        needs_encoder = stored.method.credit.latents != "none"
        credit.encoder = open_encoder(folder / "encoder") if needs_encoder else None
        credit._start()
        saved = checkpoint.read(folder / STATE)
        while len(credit._buffer.row_of) < saved.header["rows"]:
            credit._buffer = ring.grown(credit._buffer)
        seeds = jax.tree.map(lambda leaf: leaf[None], credit._buffer)
        credit._state, buffer = checkpoint.restored((credit._state, seeds), "credit", saved)
        credit._buffer = jax.tree.map(lambda leaf: leaf[0], buffer)
        (credit._window,) = checkpoint.arrays((credit._window,), "window", saved)
        credit.episodes, credit.updates = saved.header["episodes"], saved.header["updates"]
        return credit

    def _grow(self, length: int) -> None:
        """Make room for one more episode, as long as no more than ``capacity`` steps are kept."""
        buffer = self._buffer
        full = int(buffer.head) + length + 1 > len(buffer.row_of) or self.episodes >= len(buffer.start)
        if full and len(buffer.row_of) < self.capacity and int(buffer.oldest_episode) == 0:
            self._buffer = ring.grown(buffer)

    def _steps(
        self, observation: Any, action: Any, next_observation: Any, terminated: Any
    ) -> tuple[Episodes, int]:
        """Loose steps as episodes of length one, padded to a power of two, so that few sizes are compiled."""
        where, count = self.where, len(observation)
        shapes = ((where.observation_size,), where.actions.shape, (where.observation_size,))
        arrays = []
        for name, value, shape in zip(
            ("observation", "action", "next_observation"),
            (observation, action, next_observation),
            shapes,
            strict=True,
        ):
            array = np.asarray(value)
            if array.shape not in (
                (count, where.agents, *shape),
                (count, *shape) if where.agents == 1 else (),
            ):
                team = (where.agents,) if where.agents > 1 else ()
                raise LareError(
                    f"{name}: it has the shape {array.shape}, and {('batch', *team, *shape)} is expected with "
                    f"{count} rows"
                )
            array = array.reshape(count, where.agents, *shape)
            arrays.append(np.pad(array, ((0, _padded(count) - count), *((0, 0),) * (array.ndim - 1))))
        before, acted, after = arrays
        ended = np.zeros((len(before), 1, where.agents), bool)
        if terminated is not None:
            ended[:count] = np.asarray(terminated, bool).reshape(count, 1, 1)
        seen = np.stack([before, after], axis=1).astype(np.float32)
        nothing = np.zeros((len(before), 1, where.agents), np.float32)
        steps = Episodes(
            jnp.asarray(seen),
            jnp.asarray(acted.astype(where.actions.dtype)[:, None]),
            jnp.ones(ended.shape, bool),
            jnp.asarray(ended),
            jnp.zeros(len(before)),
            jnp.asarray(nothing),
        )
        return steps, count


class _Card(pydantic.BaseModel, extra="forbid"):
    """The file that says what a saved credit is of."""

    format: Annotated[int, pydantic.Field(ge=FORMAT, le=FORMAT)]
    method: Recipe
    name: str
    observation_size: pydantic.PositiveInt
    actions: Discrete | Continuous
    agents: pydantic.PositiveInt
    horizon: pydantic.PositiveInt
    capacity: pydantic.PositiveInt
    seed: int


def _padded(count: int) -> int:
    return 1 << max(count - 1, 0).bit_length()


@partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=(3, 4))
def _add(
    recipe: Method, spec: CreditSpec, actions: ActionSpace, state: Any, buffer: Buffer, episodes: Episodes
) -> tuple[Any, Buffer, Float[Array, "episode time agent"]]:
    """Store episodes; returns their rewards as they were before anything was fitted to them, too."""
    features = recipe.features(spec, episodes, actions.as_numbers(episodes.action))
    before = recipe.reward(state, features, episodes.mask)
    state = recipe.observe(state, features, episodes)
    return state, ring.insert(buffer, episodes, None, features), before


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def _fit(
    recipe: Method,
    spec: CreditSpec,
    state: Any,
    buffer: Buffer,
    key: Key,
    first: Int[Array, ""],
    count: Int[Array, ""],
) -> tuple[Any, dict[str, Float[Array, ""]]]:
    """Updates number ``first`` to ``first + count − 1``, and what the last one shows."""

    def update(number, carry):
        drawn = recipe.draw(spec, jax.random.fold_in(key, number), buffer)
        return recipe.update(spec, carry[0], drawn)

    shapes = jax.eval_shape(partial(update, 0), (state, {}))[1]
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return jax.lax.fori_loop(first, first + count, update, (state, nothing))


@partial(jax.jit, static_argnums=(0, 1, 2))
def _decode(
    recipe: Method, spec: CreditSpec, actions: ActionSpace, state: Any, episodes: Episodes
) -> Float[Array, "episode time agent"]:
    """The reward of every step of whole episodes, or of loose steps as episodes of length one."""
    features = recipe.features(spec, episodes, actions.as_numbers(episodes.action))
    return recipe.reward(state, features, episodes.mask)
