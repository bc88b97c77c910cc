"""The buffer against a list of episodes: what lives, what is overwritten, and what a sample contains."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from latent_reward import checkpoint
from latent_reward.credit.base import CreditSpec
from latent_reward.credit.features import features_of
from latent_reward.credit.per_step import PerStep
from latent_reward.data import buffer as ring
from latent_reward.data.episodes import Episodes, team_return
from latent_reward.data.spaces import Continuous, Discrete

HORIZON, CAPACITY = 5, 12
LENGTHS = st.lists(st.integers(0, HORIZON), min_size=1, max_size=40)
STORED, DERIVED = PerStep("latent", "rrd"), PerStep("raw", "rrd")


@pytest.fixture(scope="module", autouse=True)
def _compile_fast():
    """Most of the time goes into compiling programs that run for a moment; leave them unoptimised."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def is_there(number, step, agent):
    """The first agent is at every step, the others come and go."""
    return (agent == 0) | ((number + step + agent) % 3 > 0)


def make_episodes(numbers, lengths, agents=1, horizon=HORIZON):
    """Episodes in which every value says which episode, step and agent it is; padding says −1.

    Every third episode terminates. Returns what ``insert`` takes: episodes, actions, features and rewards.
    """
    number, frame, agent = np.meshgrid(numbers, np.arange(horizon + 1), np.arange(agents), indexing="ij")
    length = np.asarray(lengths)[:, None, None]
    observation = np.stack([number, frame, agent], axis=-1).astype(np.float32)
    observation = np.where((frame <= length)[..., None], observation, -1.0)
    number, step, agent = (each[:, :-1] for each in (number, frame, agent))
    here = step < length
    mask = here & is_there(number, step, agent)
    steps = np.where(here[..., None], observation[:, :-1], -1.0)
    reward = np.where(mask, 100.0 * number + step + agent / 8, 12345.0)
    episodes = Episodes(
        observation=jnp.asarray(observation, jnp.float32),
        action=jnp.asarray(-steps, jnp.float32),
        mask=jnp.asarray(mask),
        terminated=jnp.asarray(mask & (step == length - 1) & (number % 3 == 0)),
        returns=team_return(jnp.asarray(reward, jnp.float32), jnp.asarray(mask)),
        hidden_reward=jnp.asarray(reward, jnp.float32),
    )
    features = jnp.asarray(steps * 10.0, jnp.float32)
    return episodes, episodes.action, features, jnp.where(mask, episodes.hidden_reward, 0.0)


def empty(capacity=CAPACITY, horizon=HORIZON, agents=1, **more):
    return ring.init(capacity, horizon, agents, observation=3, action=3, features=3, reward=True, **more)


insert = jax.jit(ring.insert)
sample = jax.jit(ring.sample, static_argnums=2)
sample_window = jax.jit(ring.sample_window, static_argnames=("episodes", "subset", "horizon"))
whole_episodes = jax.jit(ring.whole_episodes, static_argnums=2)


def fill(lengths, capacity=CAPACITY, horizon=HORIZON, agents=1, **more):
    """A buffer after episodes of these lengths, one by one."""
    buffer = empty(capacity, horizon, agents, **more)
    for number, length in enumerate(lengths):
        buffer = insert(buffer, *make_episodes([number], [length], agents, horizon))
    return buffer


class Model:
    """The same buffer as a plain list of (number, length), oldest first."""

    def __init__(self, rows, slots):
        self.rows, self.slots, self.live = rows, slots, []

    def insert(self, number, length):
        if length:
            self.live.append((number, length))
        while sum(length for _, length in self.live) > self.rows or len(self.live) > self.slots:
            self.live.pop(0)


def stored_transitions(buffer):
    """The live transitions, oldest first, in NumPy: rows of ``[step, agent, …]``."""
    buffer = jax.tree.map(np.asarray, buffer)
    row = np.arange(buffer.oldest_transition, buffer.newest_transition) % len(buffer.steps.mask)
    steps = jax.tree.map(lambda column: column[row], buffer.steps._replace(observation=None))
    frame, frames = buffer.frame[row], buffer.steps.observation
    return steps._replace(observation=frames[frame], next_observation=frames[(frame + 1) % len(frames)])


def check_transitions(lengths, rows):
    """Each row is one true step of the episode it claims to be from, with all agents side by side."""
    rows = jax.tree.map(np.asarray, rows)
    number, step, agent = np.moveaxis(rows.observation, -1, 0)
    assert (number == number[:, :1]).all()
    assert (step == step[:, :1]).all()
    np.testing.assert_array_equal(agent, np.broadcast_to(np.arange(agent.shape[1]), agent.shape))
    np.testing.assert_array_equal(rows.action, -rows.observation)
    np.testing.assert_array_equal(rows.features, rows.observation * 10.0)
    np.testing.assert_array_equal(rows.next_observation, rows.observation + np.array([0.0, 1.0, 0.0]))
    mask = is_there(number, step, agent)
    np.testing.assert_array_equal(rows.mask, mask)
    np.testing.assert_array_equal(rows.reward, np.where(mask, 100.0 * number + step + agent / 8, 0.0))
    length = np.asarray(lengths)[number.astype(int)]
    assert (step < length).all()
    np.testing.assert_array_equal(rows.terminated, mask & (step == length - 1) & (number % 3 == 0))


def return_of(number, length, agents):
    """R of a whole episode, added up in a loop."""
    return sum(
        100.0 * number + step + agent / 8
        for step in range(length)
        for agent in range(agents)
        if is_there(number, step, agent)
    )


# ---------------------------------------------------------------- what is stored


@pytest.mark.parametrize("agents", [1, 3])
@settings(deadline=None, max_examples=40)
@given(lengths=LENGTHS)
def test_the_ring_keeps_the_newest_episodes_whole_and_in_order(agents, lengths):
    buffer = empty(agents=agents)
    model = Model(CAPACITY + HORIZON - 1, CAPACITY + HORIZON - 1)
    for number, length in enumerate(lengths):
        buffer = insert(buffer, *make_episodes([number], [length], agents))
        model.insert(number, length)
    stored = stored_transitions(buffer)
    expected = [(number, step) for number, length in model.live for step in range(length)]
    np.testing.assert_array_equal(stored.observation[:, 0, :2], np.reshape(expected, (-1, 2)))
    assert ring.size(buffer) == len(expected)
    assert buffer.newest_episode - buffer.oldest_episode == len(model.live)
    check_transitions(lengths, stored)
    full = [number for number, length in enumerate(lengths) if length]
    assert [number for number, *_ in model.live] == full[len(full) - len(model.live) :]


BLOCKS = (  # steps to keep, most episodes, agents, episodes in a block
    (3 * HORIZON, 3, 2, 3),
    (3 * HORIZON, None, 1, 3),
    (4 * HORIZON + 1, 5, 1, 5),
    (2 * HORIZON, None, 1, 1),
)


@st.composite
def blocks(draw):
    """One of ``BLOCKS``, and lengths of episodes in blocks of its size."""
    case = draw(st.sampled_from(BLOCKS))
    lengths = st.lists(st.integers(0, HORIZON), min_size=case[-1], max_size=case[-1])
    return case, draw(st.lists(lengths, min_size=1, max_size=8))


@settings(deadline=None, max_examples=80)
@given(case=blocks())
def test_a_block_of_episodes_is_stored_as_if_they_came_one_by_one(case):
    (capacity, limit, agents, _), rounds = case
    apart = together = empty(capacity, agents=agents, episodes=limit)
    number = 0
    for lengths in rounds:
        numbers = range(number, number + len(lengths))
        together = insert(together, *make_episodes(list(numbers), lengths, agents))
        for each, length in zip(numbers, lengths, strict=True):
            apart = insert(apart, *make_episodes([each], [length], agents))
        number += len(lengths)
        jax.tree.map(np.testing.assert_array_equal, together, apart)
    check_transitions([length for lengths in rounds for length in lengths], stored_transitions(together))


def test_a_block_that_could_overwrite_itself_is_refused():
    buffer = empty(HORIZON + 1)
    insert(buffer, *make_episodes([0, 1], [HORIZON] * 2))
    with pytest.raises(AssertionError, match="3 episodes"):
        insert(buffer, *make_episodes([0, 1, 2], [HORIZON] * 3))
    with pytest.raises(AssertionError, match="2 episodes"):
        insert(empty(2 * HORIZON, episodes=1), *make_episodes([0, 1], [HORIZON] * 2))


def test_what_a_buffer_does_not_keep_is_ignored():
    everything = fill([3, 5, 1, 4])
    lean = ring.init(CAPACITY, HORIZON, 1, features=3)
    for number, length in enumerate([3, 5, 1, 4]):
        episodes, _, features, _ = make_episodes([number], [length])
        lean = insert(lean, episodes, None, features)
    assert lean.steps.observation is lean.steps.action is lean.steps.reward is None
    missing = {"observation": None, "action": None, "reward": None}
    expected = everything._replace(steps=everything.steps._replace(**missing), frame=None)
    jax.tree.map(np.testing.assert_array_equal, lean, expected)


@pytest.mark.parametrize("capacity", [1, HORIZON - 1, HORIZON, 12, 50])
@settings(deadline=None, max_examples=20)
@given(lengths=st.lists(st.integers(1, HORIZON), min_size=60, max_size=60))
def test_the_promised_number_of_transitions_stays_whatever_the_lengths(capacity, lengths):
    buffer = fill(lengths, capacity=capacity)
    assert capacity <= ring.size(buffer) < capacity + HORIZON
    assert stored_transitions(buffer).observation[-1, 0, :2].tolist() == [59, lengths[-1] - 1]
    check_transitions(lengths, stored_transitions(buffer))


@pytest.mark.parametrize(
    "lengths", [[1] * 90, [2] * 60, [1] * 75 + [20, 1, 1], [20] * 9, [20] * 3 + [1] * 70]
)
def test_short_episodes_are_kept_as_long_as_long_ones(lengths):
    buffer = fill(lengths, capacity=40, horizon=20)
    assert 40 <= ring.size(buffer) < 60
    check_transitions(lengths, stored_transitions(buffer))
    np.testing.assert_array_equal(
        stored_transitions(buffer).observation[-1, 0], [len(lengths) - 1, lengths[-1] - 1, 0]
    )


def test_no_more_episodes_are_kept_than_asked_for():
    buffer = fill([2, 5, 1, 1, 3, 4], capacity=40, episodes=4)
    assert np.unique(stored_transitions(buffer).observation[:, 0, 0]).tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize("before", [[], [5, 3, 1], [5] * 9])
def test_an_episode_of_no_steps_changes_nothing(before):
    buffer = fill(before)
    after = insert(buffer, *make_episodes([99], [0]))
    jax.tree.map(np.testing.assert_array_equal, after, buffer)


def test_seeds_side_by_side_are_independent_even_where_some_have_no_episode():
    lengths = [[5, 5, 2, 5, 1], [0, 3, 0, 0, 4], [1, 0, 5, 5, 5], [0, 0, 0, 0, 0]]
    together = jax.vmap(lambda _: empty())(jnp.arange(4))
    insert_all = jax.jit(jax.vmap(ring.insert))
    for number in range(5):
        each = [make_episodes([number], [row[number]]) for row in lengths]
        together = insert_all(together, *jax.tree.map(lambda *x: jnp.stack(x), *each))
    for seed, row in enumerate(lengths):
        one = jax.tree.map(lambda leaf, seed=seed: leaf[seed], together)
        jax.tree.map(np.testing.assert_array_equal, one, fill(row))
    drawn = jax.vmap(lambda buffer, key: ring.sample(buffer, key, 32))(
        jax.tree.map(lambda leaf: leaf[:3], together), jax.random.split(jax.random.key(0), 3)
    )
    for seed in range(3):
        alone = sample(fill(lengths[seed]), jax.random.split(jax.random.key(0), 3)[seed], 32)
        np.testing.assert_array_equal(drawn.observation[seed], alone.observation)


@pytest.mark.parametrize("sizes", [(17, 6, 13), (348, 17, 17), (1, 1, 0)])
def test_a_million_transitions_take_two_observations_each_and_a_table_of_bounded_size(sizes):
    kept = dict(zip(("observation", "action", "features"), sizes, strict=True))
    shapes = jax.eval_shape(partial(ring.init, 1_000_000, 1000, 1, **kept))
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
    observation, action, features = sizes
    assert size <= 1_001_000 * (4 * (2 * observation + action + features) + 20)


# ---------------------------------------------------------------- what is drawn


@pytest.mark.parametrize("agents", [1, 3])
@settings(deadline=None, max_examples=30)
@given(lengths=LENGTHS.filter(any), seed=st.integers(0, 999))
def test_every_sampled_transition_is_a_true_step_of_a_live_episode(agents, lengths, seed):
    buffer = fill(lengths, agents=agents)
    drawn = sample(buffer, jax.random.key(seed), 64)
    check_transitions(lengths, drawn)
    live = set(map(tuple, stored_transitions(buffer).observation[:, 0]))
    assert set(map(tuple, np.asarray(drawn.observation[:, 0]))) <= live


def test_sampling_is_uniform_over_transitions_whatever_the_lengths_of_their_episodes():
    buffer = fill([3, 20, 20, 20, 1, 17, 2, 1, 5], capacity=40, horizon=20)
    live = stored_transitions(buffer).observation[:, 0]
    assert len(live) > 20
    drawn = np.asarray(sample(buffer, jax.random.key(0), 50_000).observation[:, 0])
    found, counts = np.unique(drawn, axis=0, return_counts=True)
    assert set(map(tuple, found)) == set(map(tuple, live))
    assert stats.chisquare(counts).pvalue > 1e-4


def check_window(lengths, live, window, subset, agents, derived):
    """Each episode of a window has distinct steps of one live episode, its return and its whole length."""
    rows = window.rows._replace(features=None) if derived else window.rows
    features = np.asarray(
        features_of(DERIVED if derived else STORED, CreditSpec(3, 3, agents, HORIZON), rows)
    )
    mask, returns, all_lengths = (np.asarray(each) for each in window[1:])
    for index in range(len(mask)):
        drawn = mask[index].any(axis=1)
        seen = features[index, drawn]
        if derived:  # (o, a, o − o′)
            np.testing.assert_array_equal(seen[..., 3:6], -seen[..., :3])
            np.testing.assert_array_equal(
                seen[..., 6:], np.broadcast_to([0.0, -1.0, 0.0], seen[..., 6:].shape)
            )
            seen = seen[..., :3] * 10.0
        (number,) = set((seen[..., 0] / 10.0).ravel().tolist())
        steps = seen[:, 0, 1] / 10.0
        assert int(number) in live
        length = lengths[int(number)]
        assert all_lengths[index] == length
        assert returns[index] == pytest.approx(return_of(int(number), length, agents), rel=1e-6)
        assert len(set(steps)) == len(steps) == min(length, subset or HORIZON)
        assert set(steps) <= set(range(length))
        here = is_there(number, steps[:, None], np.arange(agents))
        np.testing.assert_array_equal(mask[index, drawn], here)
        assert not mask[index, ~drawn].any()


@pytest.mark.parametrize(("derived", "agents"), [(False, 1), (True, 1), (False, 3)])
@pytest.mark.parametrize("subset", [None, 2, HORIZON])
@settings(deadline=None, max_examples=12)
@given(lengths=LENGTHS.filter(any), seed=st.integers(0, 999))
def test_a_window_holds_distinct_steps_of_one_episode_with_its_return_and_length(
    derived, agents, subset, lengths, seed
):
    buffer = fill(lengths, agents=agents)
    window = sample_window(buffer, jax.random.key(seed), episodes=16, subset=subset, horizon=HORIZON)
    live = set(stored_transitions(buffer).observation[:, 0, 0].astype(int))
    check_window(lengths, live, window, subset, agents, derived)


def test_windows_are_drawn_uniformly_over_episodes_whatever_their_lengths():
    buffer = fill([1, 5, 2, 1])
    window = sample_window(buffer, jax.random.key(0), episodes=8_000, subset=2, horizon=HORIZON)
    numbers = np.asarray(window.rows.features[:, 0, 0, 0]) / 10.0
    assert stats.chisquare(np.unique(numbers, return_counts=True)[1]).pvalue > 1e-4
    assert len(set(numbers)) == 4


# ---------------------------------------------------------------- whole episodes and their rewards


@pytest.mark.parametrize("agents", [1, 3])
@settings(deadline=None, max_examples=20)
@given(lengths=LENGTHS.filter(any))
def test_whole_episodes_have_every_step_in_order_and_the_row_it_is_in(agents, lengths):
    buffer = fill(lengths, agents=agents)
    episodes = np.arange(int(buffer.oldest_episode), int(buffer.newest_episode))
    slots = np.resize(episodes % len(buffer.start), 16)  # always as many, so that one program serves
    window, row = whole_episodes(buffer, jnp.asarray(slots, jnp.int32), HORIZON)
    live = set(stored_transitions(buffer).observation[:, 0, 0].astype(int))
    check_window(lengths, live, window, None, agents, derived=False)
    stored = np.asarray(buffer.steps.observation)[np.asarray(buffer.frame)]  # of each row
    for index in range(len(slots)):
        length = int(window.lengths[index])
        here = np.asarray(window.rows.observation[index, :length])
        np.testing.assert_array_equal(here[:, 0, 1], np.arange(length))
        np.testing.assert_array_equal(stored[np.asarray(row[index, :length])], here)
    found = [int(window.rows.observation[index, 0, 0, 0]) for index in range(len(episodes[:16]))]
    full = [number for number, length in enumerate(lengths) if length]
    assert found == full[len(full) - len(episodes) :][:16]


@pytest.mark.parametrize("agents", [1, 3])
def test_rewards_are_written_to_the_steps_of_the_given_episodes_and_nowhere_else(agents):
    lengths = [5, 5, 2, 4, 1, 5]
    buffer = fill(lengths, agents=agents)
    newest = int(buffer.newest_episode)
    chosen = [newest - 1, newest - 3, newest - 1]  # one of them twice, as a refresh may
    slots = jnp.asarray([each % len(buffer.start) for each in chosen], jnp.int32)
    window, row = whole_episodes(buffer, slots, HORIZON)
    reward = jnp.where(window.mask, window.rows.observation[..., 1] + 0.5, 0.0)
    reward = jnp.where(window.mask.any(axis=2, keepdims=True), reward, jnp.nan)  # padding must not be read
    after = ring.write_reward(buffer, row, window.mask, reward)
    expected = np.array(buffer.steps.reward)
    stored = np.asarray(buffer.steps.observation)[np.asarray(buffer.frame)]  # of each row
    for each in chosen:
        start, length = int(buffer.start[each % len(buffer.start)]), lengths[each]
        for place in np.arange(start, start + length) % len(stored):
            for agent in range(agents):
                here = is_there(*stored[place, agent])
                expected[place, agent] = stored[place, agent, 1] + 0.5 if here else 0.0
    np.testing.assert_array_equal(after.steps.reward, expected)
    assert not np.array_equal(after.steps.reward, buffer.steps.reward)
    same = after._replace(steps=after.steps._replace(reward=buffer.steps.reward))
    jax.tree.map(np.testing.assert_array_equal, same, buffer)


# ---------------------------------------------------------------- what a checkpoint keeps


@pytest.mark.parametrize("lengths", [([2, 1], [0, 4, 1]), ([], [5]), ([5] * 7 + [1], [3, 0])])
def test_a_trimmed_buffer_lacks_only_what_no_seed_has_written(lengths):
    together = jax.tree.map(lambda *leaves: np.stack(leaves), *map(fill, lengths))
    trimmed = ring.trimmed(together)
    for cut, whole in zip(jax.tree.leaves(trimmed), jax.tree.leaves(together), strict=True):
        kept = cut.shape[1] if cut.ndim > 1 else None  # counters have no second axis
        np.testing.assert_array_equal(cut, whole[:, :kept] if kept is not None else whole)
        if kept is not None:
            assert not np.asarray(whole[:, kept:]).any()
    stored = checkpoint.Stored({}, checkpoint.named(trimmed, "buffer").__getitem__, "", Path("memory"), "")
    fresh = jax.vmap(lambda _: empty())(jnp.arange(2))
    again = checkpoint.restored(fresh, "buffer", stored)
    jax.tree.map(np.testing.assert_array_equal, again, together)


def test_a_buffer_that_is_hardly_used_takes_little_space():
    buffer = jax.tree.map(lambda leaf: leaf[None], fill([2, 1], capacity=500))
    trimmed = ring.trimmed(buffer)
    assert trimmed.steps.observation.shape == (1, 5, 1, 3)  # three frames and two
    assert trimmed.steps.mask.shape == (*trimmed.frame.shape, 1) == (1, 3, 1)
    assert trimmed.start.shape == (1, 2)


@pytest.mark.parametrize("lengths", [[], [5, 2, 1], [1] * 16])
def test_a_buffer_moves_into_a_larger_one_with_all_it_has_and_goes_on(lengths):
    moved = ring.moved(fill(lengths), empty(2 * CAPACITY))
    more = [3, 5, 1, 1, 4]
    for number, length in enumerate(more, len(lengths)):
        moved = insert(moved, *make_episodes([number], [length]))
    alone = fill([*lengths, *more], capacity=2 * CAPACITY)
    jax.tree.map(np.testing.assert_array_equal, stored_transitions(moved), stored_transitions(alone))
    check_transitions([*lengths, *more], stored_transitions(moved))


# ---------------------------------------------------------------- episodes and actions


def test_returns_and_lengths_leave_padding_out():
    episodes, *_ = make_episodes([2, 3, 4], [3, 0, 5])
    assert episodes.returns.tolist() == [200.0 + 201.0 + 202.0, 0.0, sum(400.0 + t for t in range(5))]
    assert episodes.lengths.tolist() == [3, 0, 5]
    assert episodes.mask[0, :, 0].tolist() == [True, True, True, False, False]
    np.testing.assert_array_equal(episodes.before[0, :3, 0, 1], [0, 1, 2])
    np.testing.assert_array_equal(episodes.after[0, :3, 0, 1], [1, 2, 3])


def test_an_agent_is_cut_at_its_last_step_unless_that_was_an_end_of_its_own():
    mask = np.zeros((1, 4, 3), bool)
    mask[0, :, 0] = mask[0, :2, 1] = mask[0, :4, 2] = True
    terminated = np.zeros_like(mask)
    terminated[0, 1, 1] = terminated[0, 3, 2] = True
    episodes, *_ = make_episodes([0], [4], agents=3, horizon=4)
    cut = episodes._replace(mask=jnp.asarray(mask), terminated=jnp.asarray(terminated)).cut
    expected = np.zeros_like(mask)
    expected[0, 3, 0] = True
    np.testing.assert_array_equal(cut, expected)


def test_an_action_as_numbers_is_one_for_the_chosen_or_the_vector_itself():
    one_of_three, box = Discrete(3), Continuous((-1.0, 0.0), (1.0, 2.0))
    np.testing.assert_array_equal(one_of_three.as_numbers(jnp.array([[2], [0]])), [[[0, 0, 1]], [[1, 0, 0]]])
    action = jnp.array([[0.5, 1.5]])
    np.testing.assert_array_equal(box.as_numbers(action), action)
    assert (one_of_three.size, one_of_three.shape, box.size, box.shape) == (3, (), 2, (2,))
