"""PPO: estimates and losses against their definitions in NumPy, and what must not matter does not."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree

from latent_reward.agents import ppo
from latent_reward.agents.base import Actor, AgentSpec
from latent_reward.agents.policies import policy_of
from latent_reward.agents.ppo import PPO, Rows
from latent_reward.data import shuffle
from latent_reward.data.episodes import Episodes, Played, team_return
from latent_reward.data.spaces import Discrete
from latent_reward.errors import LareError

AGENT = PPO(hidden=(16, 16), critic_sees_time=False, standardise=False)
SIZE, ACTIONS = 3, 4
SPEC = AgentSpec(SIZE, Discrete(ACTIONS))


def networks(agent=AGENT, seed=0):
    return agent.networks(SPEC, agent.init(SPEC, jax.random.key(seed)).parameters)


def make_rows(count=20, seed=0, available=True):
    random = np.random.default_rng(seed)
    choices = random.random((count, ACTIONS)) < 0.7
    choices[:, 0] = True
    action = np.array([random.choice(np.flatnonzero(row)) for row in choices])
    return Rows(
        observation=random.normal(size=(count, SIZE)).astype(np.float32),
        elapsed=random.random(count).astype(np.float32),
        action=action,
        log_probability=random.uniform(-2, -0.5, count).astype(np.float32),
        value=random.normal(size=count).astype(np.float32),
        advantage=random.normal(size=count).astype(np.float32),
        target=(15 * random.normal(size=count)).astype(np.float32),
        mask=random.random(count) < 0.6,
        available=choices if available else None,
    )


def forward(mlp, x):
    """A perceptron with tanh, in float64."""
    *hidden, last = [
        (np.asarray(w, np.float64), np.asarray(b, np.float64))
        for w, b in zip(mlp.weights, mlp.biases, strict=True)
    ]
    for weight, bias in hidden:
        x = np.tanh(x @ weight + bias)
    return x @ last[0] + last[1]


def expected_losses(nets, agent, rows, clip):
    """The losses of every row that exists, one row at a time."""
    policy, worth, entropy = [], [], []

    def huber(error):
        size = abs(error)
        return 0.5 * size**2 if size <= agent.huber else agent.huber * (size - 0.5 * agent.huber)

    for i in np.flatnonzero(rows.mask):
        x = rows.observation[i].astype(np.float64)
        logits = forward(nets.actor, x)
        allowed = range(ACTIONS) if rows.available is None else np.flatnonzero(rows.available[i])
        weights = {a: np.exp(logits[a]) for a in allowed}
        p = {a: weight / sum(weights.values()) for a, weight in weights.items()}
        ratio = p[int(rows.action[i])] / np.exp(rows.log_probability[i])
        a = rows.advantage[i]
        policy.append(-min(ratio * a, min(max(ratio, 1 - clip), 1 + clip) * a))
        entropy.append(-sum(each * np.log(each) for each in p.values()))
        v = forward(nets.critic, x)[0]
        far = np.inf if agent.value_clip is None else agent.value_clip
        near = rows.value[i] + min(max(v - rows.value[i], -far), far)
        worth.append(max(huber(rows.target[i] - v), huber(rows.target[i] - near)))
    return np.mean(policy), np.mean(worth), np.mean(entropy)


@pytest.mark.parametrize("available", [True, False])
@pytest.mark.parametrize(("seed", "value_clip"), [(0, 0.5), (1, 0.5), (2, 0.5), (0, None)])
def test_losses_are_those_of_the_definition(seed, value_clip, available):
    agent = replace(AGENT, value_clip=value_clip)
    # Larger weights than a fresh policy has, so that ratios leave the clipping range.
    nets = jax.tree.map(lambda leaf: 2.0 * leaf, networks(seed=seed))
    rows = make_rows(seed=seed, available=available)
    found = agent.losses(SPEC, nets, jax.tree.map(jnp.asarray, rows), jnp.float32(0.2))
    np.testing.assert_allclose(found, expected_losses(nets, agent, rows, 0.2), rtol=2e-4)


def test_rows_that_do_not_exist_change_neither_losses_nor_gradients():
    rows = make_rows()

    def total(nets, rows):
        return sum(AGENT.losses(SPEC, nets, jax.tree.map(jnp.asarray, rows), jnp.float32(0.2)))

    def spoil(leaf):
        if leaf.dtype.kind == "b":
            return leaf
        here = rows.mask.reshape(-1, *[1] * (leaf.ndim - 1))
        return np.where(here, leaf, np.asarray(3, leaf.dtype))

    spoilt = jax.tree.map(spoil, rows)
    spoilt = spoilt._replace(available=rows.available | (~rows.mask)[:, None])
    one, two = (jax.value_and_grad(total)(networks(), each) for each in (rows, spoilt))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), one, two)


def test_unavailable_actions_are_never_taken_and_have_no_gradient_problem():
    nets = networks()
    observation = jax.random.normal(jax.random.key(1), (500, SIZE))
    available = jax.random.bernoulli(jax.random.key(2), 0.4, (500, ACTIONS)).at[:, 1].set(True)
    actor = Actor(nets.actor, None)
    action, log_probability = AGENT.act(SPEC, actor, observation, jax.random.key(3), available)
    assert available[jnp.arange(500), action].all()
    log_probabilities = policy_of(SPEC.actions, nets.actor(observation), available).log_probabilities
    np.testing.assert_array_equal(log_probability, log_probabilities[jnp.arange(500), action])
    np.testing.assert_allclose(jnp.exp(log_probabilities).sum(axis=1), 1.0, rtol=1e-5)
    assert (jnp.exp(log_probabilities)[~available] == 0).all()


@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_advantages_are_the_discounted_sums_of_the_definition(discount):
    agent = replace(AGENT, discount=discount)
    random = np.random.default_rng(0)
    time, batch = 7, 5
    reward, values = random.normal(size=(time, batch)), random.normal(size=(time + 1, batch))
    continues = random.random((time, batch)) < 0.8
    continues[-1] = False
    counts = continues | (random.random((time, batch)) < 0.5)
    counts[-1] = [True, False, True, False, False]
    assert (counts & ~continues)[:-1].any()
    expected = np.zeros((time, batch))
    for b in range(batch):
        for t in range(time):
            weight = 1.0
            for k in range(t, time):
                delta = reward[k, b] + discount * counts[k, b] * values[k + 1, b] - values[k, b]
                expected[t, b] += weight * delta
                weight *= discount * agent.gae_lambda
                if not continues[k, b]:
                    break
    single = (jnp.asarray(each, jnp.float32) for each in (reward, values))
    found = agent.advantages(*single, jnp.asarray(counts), jnp.asarray(continues))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    to_go = [sum(discount**k * reward[t + k] for k in range(time - t)) for t in range(time)]
    found = agent.returns_to_go(jnp.asarray(reward, jnp.float32))
    np.testing.assert_allclose(found, to_go, rtol=1e-4, atol=1e-5)


def test_the_scale_of_returns_is_a_moving_root_mean_square_of_what_exists():
    random = np.random.default_rng(0)
    scale = ppo.ReturnScale(jnp.zeros(()), jnp.zeros(()))
    squares = []
    for _ in range(4):
        returns, mask = random.normal(3.0, 2.0, (6, 5)), random.random((6, 5)) < 0.5
        squares.append((returns[mask] ** 2).mean())
        spoilt = np.where(mask, returns, 1e9).astype(np.float32)
        scale, size = ppo.update_return_scale(scale, jnp.asarray(spoilt), jnp.asarray(mask))
    weights = 0.95 ** np.arange(3, -1, -1)
    assert size == pytest.approx(np.sqrt(np.average(squares, weights=weights)), rel=1e-4)
    assert ppo.update_return_scale(scale, jnp.zeros((2, 2)), jnp.zeros((2, 2), bool))[1] > 0


def test_standardised_advantages_have_mean_0_and_variance_1_where_rows_exist():
    random = np.random.default_rng(0)
    advantage, mask = random.normal(5.0, 3.0, 200).astype(np.float32), random.random(200) < 0.5
    found = np.asarray(ppo.standardise_advantage(jnp.asarray(advantage), jnp.asarray(mask)))
    real = advantage[mask]
    np.testing.assert_allclose(found[mask], (real - real.mean()) / real.std(), rtol=1e-3, atol=1e-4)
    assert (found[~mask] == 0).all()


stride_shuffle = jax.jit(shuffle.stride_shuffle)
visited = jax.jit(shuffle.visited, static_argnums=3)


@settings(deadline=None, max_examples=20)
@given(count=st.sampled_from([1, 2, 128, 101 * 103, 300, 12_300]), seed=st.integers(0, 2**31 - 1))
def test_shuffled_rows_are_all_rows_once(count, seed):
    shuffled = jnp.asarray(np.random.default_rng(seed).permutation(count))
    np.testing.assert_array_equal(np.sort(stride_shuffle(jax.random.key(seed), shuffled)), np.arange(count))


@pytest.mark.parametrize("count", [1, 7, 997, 12_300, 2_153_000, 3_000_000])
@pytest.mark.parametrize(("stride", "start"), [(101, 0.0), (499, 0.5), (991, 0.9999999)])
def test_a_stride_visits_every_row_once_also_where_the_product_has_more_than_32_bits(count, stride, start):
    first = int(start * (count - 1))
    places = visited(jnp.arange(count), jnp.int32(first), jnp.int32(stride), count)
    np.testing.assert_array_equal(places, (first + stride * np.arange(count, dtype=np.int64)) % count)
    assert (np.bincount(places, minlength=count) == 1).all() or count % stride == 0


@pytest.mark.parametrize("count", [100_000_000, 2**28 + 1, 2**29 - 1, 2**29])
@settings(deadline=None, max_examples=10)
@given(stride=st.sampled_from([101, 103, 499, 991, 997]), seed=st.integers(0, 999))
def test_the_rows_of_chosen_visits_are_exact_at_any_number_of_rows(count, stride, seed):
    """Among them those next to the end of a round, where the estimate of the rounds is most easily wrong."""
    random = np.random.default_rng(seed)
    ends = np.arange(1, stride) * count // stride
    turns = np.concatenate(
        [random.integers(0, count, 3000), *(ends + off for off in (-1, 0, 1)), [0, count - 1]]
    )
    turns = np.resize(turns[(turns >= 0) & (turns < count)], 6000).astype(np.int32)
    start = int(random.integers(count))
    places = visited(jnp.asarray(turns), jnp.int32(start), jnp.int32(stride), count)
    np.testing.assert_array_equal(places, (start + stride * turns.astype(np.int64)) % count)


def test_step_size_and_clipping_fall_but_never_to_nothing():
    iterations = 50
    remaining = 1.0 - np.arange(iterations) / iterations
    rate, clip = np.array([AGENT.anneal(jnp.float32(each)) for each in remaining]).T
    assert (rate[0], clip[0]) == pytest.approx((AGENT.learning_rate, AGENT.clip))
    assert rate[-1] == pytest.approx(AGENT.learning_rate / iterations, rel=1e-3)
    assert clip[-1] == pytest.approx(AGENT.min_clip_fraction * AGENT.clip)
    assert (np.diff(rate) < 0).all()


def test_networks_are_cut_out_of_the_vector_as_they_were_put_in():
    nets = networks()
    parameters = AGENT.init(SPEC, jax.random.key(0)).parameters
    np.testing.assert_array_equal(ravel_pytree(nets)[0], parameters)
    for mlp, head in ((nets.actor, 0.01), (nets.critic, 1.0)):
        for weight, gain in zip(mlp.weights, (1.0, 1.0, head), strict=True):
            short = weight @ weight.T if weight.shape[0] < weight.shape[1] else weight.T @ weight
            np.testing.assert_allclose(short, gain**2 * np.eye(len(short)), atol=1e-5)


def test_the_critic_reads_time_only_if_asked_to():
    rows = make_rows()
    observation, elapsed = jnp.asarray(rows.observation), jnp.asarray(rows.elapsed)
    for sees in (False, True):
        agent = replace(AGENT, critic_sees_time=sees)
        critic = networks(agent).critic
        now, later = (agent.value(critic, observation, each) for each in (elapsed, elapsed + 1.0))
        assert bool((now != later).any()) is sees


def test_updates_find_the_better_action_of_each_context():
    """A bandit: in context x the action sign(x) pays; what is learned generalises to contexts never seen."""
    agent = replace(AGENT, learning_rate=3e-3, epochs=4, minibatch=64)
    state = agent.init(SPEC, jax.random.key(0))

    @jax.jit
    def iteration(state, key):
        k_x, k_act, k_learn = jax.random.split(key, 3)
        observation = jax.random.normal(k_x, (300, SIZE))
        nets = agent.networks(SPEC, state.parameters)
        action, log_probability = agent.act(SPEC, Actor(nets.actor, None), observation, k_act)
        reward = (action == jnp.where(observation[:, 0] > 0, 2, 0)).astype(float)
        value = agent.value(nets.critic, observation, jnp.zeros(300))
        mask = jnp.ones(300, bool)
        advantage = ppo.standardise_advantage(reward - value, mask)
        rows = Rows(
            observation, jnp.zeros(300), action, log_probability, value, advantage, reward, mask, None
        )
        return agent.update(SPEC, state, rows, k_learn, jnp.float32(1.0))[0], reward.mean()

    rewards = []
    for number in range(30):
        state, reward = iteration(state, jax.random.key(number))
        rewards.append(float(reward))
    assert rewards[0] < 0.4
    assert np.mean(rewards[-3:]) > 0.9


# ---------------------------------------------------------------- whole episodes


def played_episodes(spoil=None, seed=0):
    """Four episodes of two agents, and a reward of each step; ``spoil`` stands wherever nobody is."""
    random = np.random.default_rng(seed)
    episodes, time, agents = 4, 5, 2
    lengths = np.array([[5, 5], [3, 3], [4, 2], [5, 1]])  # of each agent
    mask = np.arange(time)[None, :, None] < lengths[:, None]
    terminated = np.zeros_like(mask)
    terminated[1, 2], terminated[2, 1, 1] = True, True
    observation = random.normal(size=(episodes, time + 1, agents, SIZE)).astype(np.float32)
    log_probability = random.uniform(-2, -1, mask.shape).astype(np.float32)
    reward = np.where(mask, random.normal(size=mask.shape), 0.0).astype(np.float32)
    hidden = random.normal(size=mask.shape).astype(np.float32)
    if spoil is not None:
        after = np.arange(time + 1)[None, :, None] > lengths[:, None]
        observation, log_probability = observation.copy(), np.where(mask, log_probability, spoil)
        observation[after] = spoil
        hidden = np.full_like(hidden, spoil)  # never read at all
    action = random.integers(0, ACTIONS, mask.shape).astype(np.int32)
    returns = team_return(jnp.asarray(reward), jnp.asarray(mask))
    record = Episodes(*map(jnp.asarray, (observation, action, mask, terminated, returns, hidden)))
    return Played(record, jnp.asarray(log_probability, jnp.float32), None, None), jnp.asarray(reward)


@pytest.mark.parametrize("bootstrap", [False, True])
@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_an_iteration_learns_from_the_advantages_and_targets_of_its_episodes(
    discount, bootstrap, monkeypatch
):
    """What ``learn`` gives to ``update``, against loops over episodes, agents and steps."""
    agent = PPO(hidden=(16, 16), discount=discount, bootstrap=bootstrap, standardise=False)
    given = []

    def update(self, spec, state, rows, key, remaining):
        given.append(rows)
        return state, {}

    monkeypatch.setattr(PPO, "update", update)
    state = agent.init(SPEC, jax.random.key(0))
    played, reward = played_episodes(spoil=np.nan)
    state, _ = agent.learn(SPEC, state, played, reward, jax.random.key(1), jnp.float32(1.0))
    (rows,) = given
    critic = networks(agent).critic
    mask, reward = np.asarray(played.episodes.mask), np.asarray(reward, np.float64)
    terminated, seen = np.asarray(played.episodes.terminated), np.asarray(played.episodes.observation)
    episodes, time, agents = mask.shape

    def value(e, t, i):
        return forward(critic, np.append(seen[e, t, i].astype(np.float64), t / time))[0]

    to_go = np.zeros(mask.shape)
    for e, t, i in np.ndindex(*mask.shape):
        to_go[e, t, i] = sum(discount**k * reward[e, t + k, i] for k in range(time - t))
    scale = np.sqrt((to_go[mask] ** 2).mean())
    advantage, values = np.zeros(mask.shape), np.zeros(mask.shape)
    for e, i in np.ndindex(episodes, agents):
        length, later = int(mask[e, :, i].sum()), 0.0
        for t in reversed(range(length)):
            values[e, t, i] = value(e, t, i)
            last = t == length - 1
            follows = discount * (not last or (bootstrap and not terminated[e, t, i]))
            after = value(e, t + 1, i) if follows else 0.0
            delta = reward[e, t, i] / scale + follows * after - values[e, t, i]
            later = delta + (0.0 if last else follows * agent.gae_lambda * later)
            advantage[e, t, i] = later
    real = advantage[mask]
    by_row = lambda array: array.swapaxes(0, 1)[mask.swapaxes(0, 1)]  # noqa: E731
    here = np.asarray(rows.mask)
    np.testing.assert_array_equal(here, mask.swapaxes(0, 1).ravel())
    np.testing.assert_array_equal(rows.action[here], by_row(np.asarray(played.episodes.action)))
    np.testing.assert_allclose(rows.value[here], by_row(values), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(rows.target[here], by_row(advantage + values), rtol=1e-3, atol=1e-4)
    standardised = by_row((advantage - real.mean()) / real.std())
    np.testing.assert_allclose(rows.advantage[here], standardised, rtol=1e-3, atol=1e-3)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(rows))
    assert state.scale.weight == pytest.approx(0.05)


def test_whatever_lies_beyond_the_end_of_an_episode_changes_nothing():
    agent = PPO(hidden=(8,), epochs=2, minibatch=16, standardise=False)
    state = agent.init(SPEC, jax.random.key(0))
    learn = jax.jit(lambda state, *given: agent.learn(SPEC, state, *given, jnp.float32(1.0)))
    clean, spoilt = (learn(state, *played_episodes(spoil), jax.random.key(1)) for spoil in (None, np.nan))
    jax.tree.map(np.testing.assert_array_equal, spoilt, clean)
    assert not np.array_equal(clean[0].parameters, state.parameters)
    assert set(clean[1]) == {"policy_loss", "value_loss", "entropy"}


def test_the_best_action_is_the_most_probable_one():
    actor = AGENT.actor(SPEC, AGENT.init(SPEC, jax.random.key(0)))
    observation = jax.random.normal(jax.random.key(1), (50, SIZE))
    expected = [forward(actor.network, row).argmax() for row in np.asarray(observation, np.float64)]
    np.testing.assert_array_equal(AGENT.best(SPEC, actor, observation), expected)


@pytest.mark.parametrize("name", ["epochs", "minibatch"])
def test_a_count_below_one_is_refused(name):
    with pytest.raises(LareError, match=rf"^{name}: 0 is not possible"):
        PPO(**{name: 0})


def test_nothing_depends_on_the_unit_of_an_observation():
    """The first iteration reads zeros, the second what the first has measured."""
    agent = PPO(hidden=(8,), epochs=2, minibatch=16)
    units = jnp.asarray([1.0, 1e-4, 1e4])

    def learned(units):
        state = agent.init(SPEC, jax.random.key(0))
        played, reward = played_episodes()
        shown = played.episodes._replace(observation=played.episodes.observation * units)
        for number in range(3):
            given = played._replace(episodes=shown), reward, jax.random.key(number), jnp.float32(1.0)
            state, _ = agent.learn(SPEC, state, *given)
        actor = agent.actor(SPEC, state)
        return actor(shown.observation)

    np.testing.assert_allclose(learned(units), learned(jnp.ones(3)), rtol=1e-3, atol=1e-4)
