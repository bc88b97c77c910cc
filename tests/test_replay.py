"""The replay ring against a list of episodes: what lives, what is overwritten, and what a sample contains."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from latent_reward.training.replay import Episode
from scipy import stats

from latent_reward.training import replay as ring

HORIZON, CAPACITY = 5, 12
LENGTHS = st.lists(st.integers(0, HORIZON), min_size=1, max_size=40)


def make_episode(number, length, terminated=False, horizon=HORIZON):
    """An episode in which every value says which episode and step it is; padding says −1."""
    here = np.arange(horizon + 1) <= length
    frames = np.where(here[:, None], np.stack([np.full(horizon + 1, number), np.arange(horizon + 1)], 1), -1)
    steps = np.where((np.arange(horizon) < length)[:, None], frames[:-1], -1).astype(np.float32)
    reward = np.where(np.arange(horizon) < length, 100.0 * number + np.arange(horizon), 12345.0)
    episode = Episode(
        jnp.asarray(frames, jnp.float32),
        jnp.asarray(-steps),
        jnp.asarray(reward, jnp.float32),
        jnp.asarray(terminated),
        jnp.asarray(length, jnp.int32),
    )
    return episode, jnp.asarray(steps * 10.0), jnp.asarray(reward, jnp.float32)[:, None]


def empty(capacity=CAPACITY, horizon=HORIZON):
    return ring.init(capacity, horizon, 2, 2, 2, fixed=True)


insert = jax.jit(ring.insert)
sample = jax.jit(ring.sample, static_argnums=2)
sample_window = jax.jit(ring.sample_window, static_argnames=("episodes", "subset", "horizon", "raw"))


def fill(lengths, capacity=CAPACITY, horizon=HORIZON):
    """A replay after episodes of these lengths; every third of them terminated."""
    replay = empty(capacity, horizon)
    for number, length in enumerate(lengths):
        replay = insert(replay, *make_episode(number, length, number % 3 == 0, horizon))
    return replay


class Model:
    """The same ring as a plain list of (number, first row, length), oldest first."""

    def __init__(self, rows, slots):
        self.rows, self.slots, self.head, self.live = rows, slots, 0, []

    def insert(self, number, length):
        if length == 0:
            return
        if self.head + length + 1 > self.rows:  # the tail is skipped, so whatever stands there leaves
            self.live = [each for each in self.live if each[1] < self.head]
            self.head = 0
        taken = set(range(self.head, self.head + length + 1))
        keep = 0
        for index, (_, start, old) in enumerate(self.live):
            if taken & set(range(start, start + old + 1)):
                keep = index + 1
        self.live = [*self.live[keep:], (number, self.head, length)][-self.slots :]
        self.head += length + 1


def stored_transitions(replay):
    """(o, a, o′, features, reward, terminal) of each live transition, oldest first, in NumPy."""
    replay = jax.tree.map(np.asarray, replay)
    order = np.arange(replay.oldest_transition, replay.newest_transition) % len(replay.row_of)
    row = replay.row_of[order]
    after = replay.observation[row + 1]
    return (
        replay.observation[row],
        replay.action[row],
        after,
        replay.features[row],
        replay.reward[row],
        replay.terminal[row],
    )


def check_transitions(lengths, observation, action, after, features, reward, terminal):
    """Each row is one true step of the episode it claims to be from."""
    number, step = observation.T
    np.testing.assert_array_equal(action, -observation)
    np.testing.assert_array_equal(features, observation * 10.0)
    np.testing.assert_array_equal(after, observation + np.array([0.0, 1.0]))
    np.testing.assert_array_equal(reward[:, 0], 100.0 * number + step)
    length = np.asarray(lengths)[number.astype(int)]
    assert (step < length).all()
    np.testing.assert_array_equal(terminal, (step == length - 1) & (number % 3 == 0))


@settings(deadline=None, max_examples=60)
@given(lengths=LENGTHS)
def test_the_ring_keeps_the_newest_episodes_whole_and_in_order(lengths):
    replay = empty()
    model = Model(len(replay.row_of), len(replay.start))
    for number, length in enumerate(lengths):
        replay = insert(replay, *make_episode(number, length, number % 3 == 0))
        model.insert(number, length)
    observation, *rest = stored_transitions(replay)
    expected = [(number, step) for number, _, length in model.live for step in range(length)]
    np.testing.assert_array_equal(observation, np.reshape(expected, (-1, 2)))
    assert ring.size(replay) == len(expected)
    assert replay.newest_episode - replay.oldest_episode == len(model.live)
    check_transitions(lengths, observation, *rest)
    full = [number for number, length in enumerate(lengths) if length]
    assert [number for number, *_ in model.live] == full[len(full) - len(model.live) :]


@settings(deadline=None, max_examples=40)
@given(lengths=LENGTHS.filter(any), seed=st.integers(0, 999))
def test_every_sampled_transition_is_a_true_step_of_a_live_episode(lengths, seed):
    replay = fill(lengths)
    batch = sample(replay, jax.random.key(seed), 64)
    drawn = jax.tree.map(np.asarray, batch)
    check_transitions(
        lengths,
        drawn.observation,
        drawn.action,
        drawn.next_observation,
        drawn.features,
        drawn.reward,
        drawn.terminated,
    )
    live = set(map(tuple, stored_transitions(replay)[0]))
    assert set(map(tuple, drawn.observation)) <= live


def test_at_the_full_horizon_the_promised_number_of_transitions_stays():
    replay = fill([HORIZON] * 30)
    assert ring.size(replay) >= CAPACITY
    assert stored_transitions(replay)[0][-1].tolist() == [29, HORIZON - 1]


def test_sampling_is_uniform_over_transitions_whatever_the_lengths_of_their_episodes():
    replay = fill([3, 20, 20, 20, 1, 17, 2, 1, 5], capacity=40, horizon=20)
    live = stored_transitions(replay)[0]
    assert len(live) > 20
    drawn = np.asarray(sample(replay, jax.random.key(0), 50_000).observation)
    found, counts = np.unique(drawn, axis=0, return_counts=True)
    assert set(map(tuple, found)) == set(map(tuple, live))
    assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("subset", [None, 2, HORIZON])
@settings(deadline=None, max_examples=15)
@given(lengths=LENGTHS.filter(any), seed=st.integers(0, 999))
def test_a_window_holds_distinct_steps_of_one_episode_with_its_return_and_length(raw, subset, lengths, seed):
    replay = fill(lengths)
    window = sample_window(replay, jax.random.key(seed), episodes=16, subset=subset, horizon=HORIZON, raw=raw)
    live = {int(number) for number in stored_transitions(replay)[0][:, 0]}
    for features, mask, total, length in zip(*map(np.asarray, window), strict=True):
        rows = features[mask[:, 0], 0]
        if raw:
            np.testing.assert_array_equal(rows[:, 2:4], -rows[:, :2])
            np.testing.assert_array_equal(rows[:, 4:], np.tile([0.0, -1.0], (len(rows), 1)))
            rows = rows[:, :2] * 10.0
        (number,) = set(rows[:, 0] / 10.0)
        steps = rows[:, 1] / 10.0
        assert int(number) in live
        assert length == lengths[int(number)]
        assert total == sum(100.0 * number + step for step in range(length))
        assert len(set(steps)) == len(steps) == min(length, subset or HORIZON)
        assert set(steps) <= set(range(length))


def test_windows_are_drawn_uniformly_over_episodes_whatever_their_lengths():
    replay = fill([1, 5, 2, 1])
    window = sample_window(replay, jax.random.key(0), episodes=8_000, subset=2, horizon=HORIZON, raw=False)
    numbers = np.asarray(window.features[:, 0, 0, 0]) / 10.0
    assert stats.chisquare(np.unique(numbers, return_counts=True)[1]).pvalue > 1e-4
    assert len(set(numbers)) == 4


@pytest.mark.parametrize("before", [[], [5, 3, 1], [5] * 9])
def test_an_episode_of_no_steps_changes_nothing(before):
    replay = fill(before)
    after = insert(replay, *make_episode(99, 0, True))
    jax.tree.map(np.testing.assert_array_equal, after, replay)


def test_many_short_episodes_are_limited_by_the_ring_of_episodes():
    lengths = [1] * 75 + [20, 1, 1]
    replay = fill(lengths, capacity=40, horizon=20)
    slots = len(replay.start)
    assert 2 * slots < len(replay.row_of)  # rows are left: it is the slots that run out
    full = fill([1] * 75, capacity=40, horizon=20)
    assert full.newest_episode - full.oldest_episode == slots == ring.size(full)
    check_transitions([1] * 75, *stored_transitions(full))
    check_transitions(lengths, *stored_transitions(replay))
    np.testing.assert_array_equal(stored_transitions(replay)[0][-1], [77.0, 0.0])


def test_seeds_side_by_side_are_independent_even_where_some_have_no_episode():
    lengths = [[5, 5, 2, 5, 1], [0, 3, 0, 0, 4], [1, 0, 5, 5, 5], [0, 0, 0, 0, 0]]
    together = jax.vmap(lambda _: empty())(jnp.arange(4))
    insert_all = jax.jit(jax.vmap(ring.insert))
    for number in range(5):
        each = [make_episode(number, row[number], number % 3 == 0) for row in lengths]
        together = insert_all(together, *jax.tree.map(lambda *x: jnp.stack(x), *each))
    for seed, row in enumerate(lengths):
        one = jax.tree.map(lambda leaf, seed=seed: leaf[seed], together)
        jax.tree.map(np.testing.assert_array_equal, one, fill(row))
    drawn = jax.vmap(lambda replay, key: ring.sample(replay, key, 32))(
        jax.tree.map(lambda leaf: leaf[:3], together), jax.random.split(jax.random.key(0), 3)
    )
    for seed in range(3):
        alone = sample(fill(lengths[seed]), jax.random.split(jax.random.key(0), 3)[seed], 32)
        np.testing.assert_array_equal(drawn.observation[seed], alone.observation)


def test_the_return_and_the_mask_leave_padding_out():
    episode, *_ = make_episode(2, 3)
    assert episode.total == 200.0 + 201.0 + 202.0
    assert episode.mask.tolist() == [True, True, True, False, False]


@pytest.mark.parametrize(("sizes", "limit"), [((17, 6, 8), 250e6), ((348, 17, 8), 1.7e9)])
def test_a_million_transitions_fit_in_memory(sizes, limit):
    shapes = jax.eval_shape(partial(ring.init, 1_000_000, 1000, *sizes, fixed=False))
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
    assert 4e6 * sum(sizes) < size < limit
