"""Credit for recorded episodes: per-step rewards from returns, without an agent."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np

from latent_reward.compilation import use_compilation_cache
from latent_reward.credit import metrics
from latent_reward.credit.methods import Recipe, find_method
from latent_reward.data.episodes import Episodes
from latent_reward.encoder.encoder import Encoder
from latent_reward.encoder.selection import AnySelection, as_selection
from latent_reward.errors import LareError, require_positive, require_seed, shown
from latent_reward.library import core
from latent_reward.library.core import Core
from latent_reward.library.episode import Episode, as_episodes
from latent_reward.library.where import AnyEncoder, Where, choose_encoder, find_where, selected

HOLD_OUT = 5  # every so many episodes, one is held out
ROUND = 500  # updates between two looks at the held-out returns
_PATIENCE = 4  # rounds without gain before it stops
_MOST_ROUNDS = 40
_GAIN = 0.001  # of the variance of held-out returns: less is no gain
_UNMEASURED = 2_000  # updates where there are too few episodes to hold any out
_CHUNK_ROWS = 1 << 15  # steps that are handled at once


@dataclass(frozen=True, eq=False)
class Setup:
    """Recorded episodes, and the method that is to assign credit in them.

    Attributes:
        episodes: the episodes.
        where: what is seen and done in them; the horizon is the longest one.
        method: the method with its settings.
        encoder: the encoder; None if the method reads no latents.
    """

    episodes: tuple[Episode, ...]
    where: Where
    method: Recipe
    encoder: Encoder | None

    @property
    def core(self) -> Core:
        """What is compiled."""
        return core.make_core(self.where, self.method.credit, self.encoder)

    @property
    def returns(self) -> np.ndarray:
        """The return of each episode, float64."""
        return np.array([float(np.asarray(each.ret).item()) for each in self.episodes])

    @property
    def lengths(self) -> np.ndarray:
        """The steps of each episode."""
        return np.array([len(each) for each in self.episodes])


def assign(
    episodes: Sequence[Episode],
    *,
    method: Recipe | str = "lare",
    task: Any = None,
    observation_space: Any = None,
    action_space: Any = None,
    encoder: AnyEncoder | None = None,
    latents: AnySelection = None,
    updates: SupportsIndex | None = None,
    seed: SupportsIndex = 0,
) -> list[np.ndarray]:
    """The reward of each step of recorded episodes, from their returns alone; no agent, no environment.

    With ``updates=None`` every fifth episode is held out first. The method is fitted to the others in rounds of 500
    updates, and the squared error of the held-out returns is measured after each. It stops after four rounds that
    explain less than 0.1 % more of their variance, or after 40 rounds. The number of updates with the smallest error is
    kept, and a fresh fit to all episodes makes as many. With fewer than ten episodes, or if all held-out returns are
    equal, it makes 2,000 updates. A method that is solved, such as lare or linear, is not changed by updates.

    Args:
        episodes: the recorded episodes, all of the same agent or team.
        method: a name that ``lare methods`` lists, or a method with settings of your own. The references ``episodic``
            and ``uniform`` need only returns, ``dense`` needs rewards.
        task: a task, the name of a built-in one, or the path of a task file.
        observation_space: instead of a task, Gymnasium's space of one agent's observations, or their size.
        action_space: instead of a task, Gymnasium's space of one agent's actions.
        encoder: an encoder, its folder, the name of a task, or a function; the task's bundled one by default.
        latents: which latents of the encoder are used: their names, or a mapping with ``only``, ``without`` and
            ``junk``; see :class:`~latent_reward.encoder.selection.Selection`.
        updates: updates of the decoder; by default as many as the held-out returns ask for.
        seed: of all random numbers; the same seed gives the same rewards.

    Returns:
        For each episode an array ``(T,)``, of a team ``(T, agents)``, in the environment's units; float32, writable.

    Raises:
        LareError: there are no episodes, one does not fit, or something asked for does not exist.
    """
    seed = require_seed(seed)
    if updates is not None:
        require_positive(updates=updates)
    setup = prepare(
        episodes,
        method=method,
        task=task,
        observation_space=observation_space,
        action_space=action_space,
        encoder=encoder,
        latents=latents,
    )
    count = choose_updates(setup, seed) if updates is None else int(updates)
    return rewards(setup, fitted(setup, range(len(setup.episodes)), count, seed))


def prepare(
    episodes: Sequence[Episode],
    *,
    method: Recipe | str = "lare",
    task: Any = None,
    observation_space: Any = None,
    action_space: Any = None,
    encoder: AnyEncoder | None = None,
    latents: AnySelection = None,
) -> Setup:
    """Check recorded episodes and find what :func:`assign` needs; the arguments are those of :func:`assign`.

    Raises:
        LareError: there are no episodes, one does not fit, or something asked for does not exist.
    """
    use_compilation_cache()
    selection = as_selection(latents)
    if isinstance(episodes, Episode) or not isinstance(episodes, Iterable):
        raise LareError(f"episodes: {shown(episodes)} is no list of them; give a list of Episode")
    found = tuple(episodes)
    if not found:
        raise LareError("episodes: there are none; give at least one")
    for number, each in enumerate(found):
        if not isinstance(each, Episode):
            raise LareError(f"episode {number}: it is a {type(each).__name__}; give an Episode")
        if np.ndim(each.actions) < 1 or not len(each):
            raise LareError(f"episode {number}: it has no steps; leave it out")
    seen = np.ndim(found[0].observations)
    agents = np.shape(found[0].observations)[1] if seen == 3 else 1
    where = find_where(task, observation_space, action_space, max(map(len, found)), max(agents, 1))
    recipe = find_method(method, where.experience)
    credit = recipe.credit
    if credit.needs_step_rewards:
        silent = next((number for number, each in enumerate(found) if each.rewards is None), None)
        if silent is not None:
            raise LareError(
                f"method: dense is the true reward of each step, and episode {silent} has no rewards; choose another"
            )
    (chosen,) = selected((choose_encoder(where, recipe, encoder),), selection, recipe)
    setup = Setup(found, where, recipe, chosen)
    for numbers, chunk in _chunks(setup, range(len(found))):
        core.require_finite(setup.core, chunk, core.encode(setup.core, chunk), numbers)
    return setup


def choose_updates(setup: Setup, seed: int) -> int:
    """As many updates as explain held-out returns best, by the rule of :func:`assign`."""
    if not setup.method.credit.learns:
        return 0
    numbers = np.arange(len(setup.episodes))
    held = numbers % HOLD_OUT == HOLD_OUT - 1
    true = setup.returns[held]
    if len(numbers) < 2 * HOLD_OUT or np.ptp(true) == 0 or setup.method.credit.told:
        return _UNMEASURED

    def error(state: Any) -> float:
        """Squared error relative to the variance."""
        predicted = sums(setup, state, numbers[held])[:, 1]
        return float(((predicted - true) ** 2).mean() / np.var(true))

    state, advance = _stored(setup, numbers[~held], seed)
    least, best = error(state), 0
    mark, since = least, 0
    for number in range(1, _MOST_ROUNDS + 1):
        state = advance(state, (number - 1) * ROUND, ROUND)
        now = error(state)
        if now < least:
            least, best = now, number
        since += 1
        if now < mark - _GAIN:
            mark, since = now, 0
        if since == _PATIENCE:
            break
    return best * ROUND


def fitted(setup: Setup, numbers: Sequence[int] | np.ndarray | range, updates: int, seed: int) -> Any:
    """What the method learns from the episodes with these numbers."""
    state, advance = _stored(setup, numbers, seed)
    return advance(state, 0, updates) if updates and setup.method.credit.learns else state


def rewards(setup: Setup, state: Any) -> list[np.ndarray]:
    """The reward of every step of all episodes: ``(T,)``, of a team ``(T, agents)``."""
    found = []
    for numbers, chunk in _chunks(setup, range(len(setup.episodes))):
        decoded = np.asarray(core.decode(setup.core, state, chunk))
        for place, number in enumerate(numbers):
            each = decoded[place, : len(setup.episodes[number])]
            found.append(np.array(each[:, 0] if setup.where.agents == 1 else each))
    return found


def sums(setup: Setup, state: Any, numbers: Sequence[int] | np.ndarray | range) -> metrics.Sums:
    """Of each episode with these numbers the sums of proxy and true rewards; the latter are NaN if not known."""
    rows = []
    for chosen, chunk in _chunks(setup, numbers):
        proxy = np.asarray(core.decode(setup.core, state, chunk), np.float64)
        paid, mask = np.array(chunk.hidden_reward, np.float64), np.asarray(chunk.mask)
        for place, number in enumerate(chosen):
            if setup.episodes[number].rewards is None:
                paid[place] = np.nan
        rows.append(metrics.episode_sums(proxy, paid, mask)[: len(chosen)])
    return np.concatenate(rows)


def _stored(setup: Setup, numbers: Sequence[int] | np.ndarray | range, seed: int):
    """The state after the episodes were seen, and a function that fits it to them, from update ``first`` on."""
    key = jax.random.key(seed)
    fixed = setup.core
    state = core.init_state(fixed, jax.random.fold_in(key, 0))
    state = jax.tree.map(jnp.copy, state)  # what is donated must not be there twice
    # of the same size whichever episodes are chosen, so that it is compiled once
    room = max(int(setup.lengths.sum()), _chunk_size(setup) * setup.where.horizon)
    buffer = core.init_buffer(fixed, room, episodes=max(len(setup.episodes), _chunk_size(setup)))
    buffer = jax.tree.map(jnp.copy, buffer)
    for _, chunk in _chunks(setup, numbers):
        state, buffer, _ = core.store(fixed, state, buffer, chunk, core.encode(fixed, chunk))

    def advance(state: Any, first: int, count: int) -> Any:
        update_key = jax.random.fold_in(key, 1)
        return core.fit(fixed, state, buffer, update_key, jnp.int32(first), jnp.int32(count))[0]

    return state, advance


def _chunk_size(setup: Setup) -> int:
    most = max(1, _CHUNK_ROWS // (setup.where.horizon * setup.where.agents))
    return min(most, 64, len(setup.episodes))


def _chunks(
    setup: Setup, numbers: Sequence[int] | np.ndarray | range
) -> Iterator[tuple[list[int], Episodes]]:
    """The episodes with these numbers, a few at a time, filled up with empty ones to the same number."""
    size = _chunk_size(setup)
    for start in range(0, len(numbers), size):
        chosen = [int(each) for each in numbers[start : start + size]]
        chunk = as_episodes([setup.episodes[each] for each in chosen], setup.where, chosen)
        missing = size - len(chosen)
        if missing:
            chunk = jax.tree.map(
                lambda leaf, missing=missing: jnp.pad(leaf, ((0, missing), *((0, 0),) * (leaf.ndim - 1))),
                chunk,
            )
        yield chosen, chunk
