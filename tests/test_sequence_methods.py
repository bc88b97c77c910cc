"""Methods that read whole episodes: their losses in NumPy, who may change whose credit, and what sums to the return."""

from dataclasses import replace
from functools import cache, partial

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

import latent_reward as lr
from latent_reward.credit import diaster as subtrajectories
from latent_reward.credit.base import CreditSpec
from latent_reward.credit.decoder import Batch
from latent_reward.credit.diaster import Diaster, cut_loss, differences, prefixes
from latent_reward.credit.methods import METHODS, Recipe
from latent_reward.credit.per_episode import LONGEST, Drawn, PerEpisode
from latent_reward.credit.sequence.arel import AREL, scaled_variance
from latent_reward.credit.sequence.attention import init_block, over_agents, over_time, weights
from latent_reward.credit.sequence.gru import init_gru, scan_gru
from latent_reward.credit.sequence.stas import STAS, fixed_coalitions
from latent_reward.credit.sequence.tar2 import TAR2, last, shares
from latent_reward.errors import LareError

pytestmark = pytest.mark.usefixtures("compile_fast")

TIME, AGENTS, FEATURES = 6, 3, 4
ACTIONS = gymnasium.spaces.Box(-1.0, 1.0, (1,))
SPEC = CreditSpec(FEATURES, 1, AGENTS, TIME)
SMALL = {"width": 8, "heads": 2}
NETWORKS = {
    "stas": STAS(**SMALL),
    "stas-ml": STAS(levels=True, **SMALL),
    "arel": AREL(**SMALL),
    "tar2": TAR2(**SMALL),
}
CAUSAL = ("stas", "stas-ml", "arel")


def episodes(seed=0, agents=AGENTS):
    """Features, a mask in which agents come and go, and returns; the first two episodes have one step and all."""
    random = np.random.default_rng(seed)
    lengths = np.array([1, TIME, 4, 3, 5])
    exists = np.arange(TIME) < lengths[:, None]
    mask = exists[:, :, None] & (random.random((5, TIME, agents)) < 0.7)
    mask[:, :, 0] = exists
    features = random.normal(size=(5, TIME, agents, FEATURES)).astype(np.float32)
    returns = (4 * random.normal(size=5)).astype(np.float32)
    return features * mask[..., None], mask, returns, lengths


@cache
def fresh(name, agents=AGENTS):
    network = NETWORKS[name].init(jax.random.key(1), size=FEATURES, horizon=TIME, agents=agents)
    # the head of a fresh network is nearly 0: twice the parameters make differences plain
    return jax.tree.map(lambda leaf: 2 * leaf, network)


@partial(jax.jit, static_argnums=0)
def credit(name, network, features, mask, returns):
    return NETWORKS[name].credit(network, features, mask, returns)


@partial(jax.jit, static_argnums=0)
def loss(name, network, features, mask, returns, seed=5):
    return NETWORKS[name].loss(network, features, mask, returns, jax.random.key(seed))


def mean_square(rewards, mask, returns):
    """((R − Σ r) / L)², the mean over episodes, one at a time."""
    each = [
        ((total - sum(paid[there])) / there.any(axis=1).sum()) ** 2
        for paid, there, total in zip(np.asarray(rewards, np.float64), mask, returns, strict=True)
    ]
    return np.mean(each)


def test_attention_is_a_softmax_over_what_is_allowed_averaged_over_coalitions():
    random = np.random.default_rng(0)
    query, key = random.normal(size=(2, 4, 2, 3)).astype(np.float32)
    allowed = random.random((5, 4, 4)) < 0.6
    allowed[0, 1] = False  # a token that may see nothing
    found = np.asarray(jax.jit(weights)(query, key, allowed))
    for head in range(2):
        score = query[:, head] @ key[:, head].T / np.sqrt(3)
        expected = np.zeros((4, 4))
        for coalition in allowed:
            for token, seen in enumerate(coalition):
                if seen.any():
                    expected[token, seen] += softmax(score[token, seen]) / 5
        np.testing.assert_allclose(found[head], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("over", [over_time, over_agents])
def test_who_is_absent_is_never_looked_at(over):
    features, mask, *_ = episodes()
    block = init_block(jax.random.key(0), FEATURES, 2)
    changed = np.where(mask[..., None], features, 99.0).astype(np.float32)
    one, other = (np.asarray(jax.jit(over)(block, each, mask))[mask] for each in (features, changed))
    np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_loss_is_that_of_its_rewards_in_numpy(name):
    features, mask, returns, _ = episodes()
    network = fresh(name, 1 if name.startswith("stas") else AGENTS)
    if name.startswith("stas"):  # of one agent, every coalition is the same, so that nothing is random
        features, mask = features[:, :, :1], mask[:, :, :1]
    rewards = np.asarray(credit(name, network, features, mask, returns), np.float64)
    expected = mean_square(rewards, mask, returns)
    if name == "arel":
        team = [paid.sum(axis=1)[there.any(axis=1)] for paid, there in zip(rewards, mask, strict=True)]
        expected += 20.0 * np.mean([np.var(each) / len(each) ** 2 for each in team])
    if name == "tar2":
        scores = jax.jit(TAR2(**SMALL).scores)(network, features, mask, returns)
        expected = mean_square(scores, mask, np.abs(returns))
    assert loss(name, network, features, mask, returns) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_outside_the_mask_and_padding_change_nothing(name):
    features, mask, returns, _ = episodes()
    network = fresh(name)
    rewards = np.asarray(credit(name, network, features, mask, returns))
    assert np.std(rewards[mask]) > 0
    assert not rewards[~mask].any()
    for episode in (0, 3):
        steps = mask[episode].any(axis=1).sum()
        alone = (each[episode : episode + 1, :steps] for each in (features, mask))
        found = credit(name, network, *alone, returns[episode : episode + 1])
        np.testing.assert_allclose(found[0], rewards[episode, :steps], rtol=1e-3, atol=1e-5)
    slope = jax.grad(loss, argnums=1)(name, network, features, mask, returns)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_order_of_agents_changes_nothing_but_the_order_of_their_credit(name):
    features, mask, returns, _ = episodes()
    network, order = fresh(name), np.array([2, 0, 1])
    rewards = credit(name, network, features, mask, returns)
    moved = network
    if name.startswith(
        "stas"
    ):  # whose identity moves with the agent, and whom the fixed coalitions do not mix up
        moved = network._replace(identity=network.identity[order])
    if name.startswith("stas"):
        everybody = jnp.ones((1, AGENTS, AGENTS), bool)
        decode = jax.jit(NETWORKS[name]._decode)
        rewards = decode(network, features, mask, everybody)
        found = decode(moved, features[:, :, order], mask[:, :, order], everybody)
    else:
        found = credit(name, moved, features[:, :, order], mask[:, :, order], returns)
    np.testing.assert_allclose(found, rewards[:, :, order], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", CAUSAL)
def test_a_later_step_never_changes_an_earlier_credit(name):
    features, mask, returns, _ = episodes()
    late = features.copy()
    late[:, 3:] += mask[:, 3:, :, None]
    one, other = (np.asarray(credit(name, fresh(name), each, mask, returns)) for each in (features, late))
    np.testing.assert_allclose(one[:, :3], other[:, :3], rtol=1e-5, atol=1e-6)
    assert np.abs(one[1, 3:] - other[1, 3:]).max() > 1e-4
    early = features.copy()
    early[:, 0] += mask[:, 0, :, None]
    assert np.abs(np.asarray(credit(name, fresh(name), early, mask, returns))[1, 5] - one[1, 5]).max() > 1e-5


def test_coalitions_are_the_same_every_time_and_hold_others_in_half_of_them():
    coalitions = fixed_coalitions(4)
    np.testing.assert_array_equal(coalitions, fixed_coalitions(4))
    assert coalitions[:, range(4), range(4)].all()
    assert (coalitions.mean(axis=0)[~np.eye(4, dtype=bool)] == 0.5).all()


def test_the_fit_of_stas_draws_coalitions_and_its_credit_does_not():
    features, mask, returns, _ = episodes()
    found = {float(loss("stas", fresh("stas"), features, mask, returns, seed)) for seed in range(3)}
    assert len(found) == 3


def test_agents_of_arel_share_one_reward():
    features, mask, returns, _ = episodes()
    rewards = np.asarray(credit("arel", fresh("arel"), features, mask, returns))
    for paid, there in zip(rewards.reshape(-1, AGENTS), mask.reshape(-1, AGENTS), strict=True):
        assert len(set(paid[there])) <= 1
        assert not paid[~there].any()


def test_the_variance_of_arel_is_that_over_the_steps_of_each_episode():
    random = np.random.default_rng(3)
    rewards = random.normal(size=(3, TIME, AGENTS)).astype(np.float32)
    lengths = np.array([1, 4, TIME])
    mask = np.arange(TIME) < lengths[:, None]
    expected = np.mean([
        np.var(paid[:length].sum(axis=1)) / length**2 for paid, length in zip(rewards, lengths, strict=True)
    ])  # fmt: skip
    assert jax.jit(scaled_variance)(rewards, mask) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("sign", [1.0, -1.0, 0.0])
def test_rewards_of_tar2_sum_to_the_return_exactly_and_have_its_sign(sign):
    features, mask, returns, _ = episodes()
    returns = sign * np.abs(returns)
    rewards = np.asarray(credit("tar2", fresh("tar2"), features, mask, returns), np.float64)
    np.testing.assert_allclose(rewards.sum(axis=(1, 2)), returns, rtol=1e-5, atol=1e-6)
    assert (np.sign(rewards[mask]) == sign).all()


def test_shares_are_weights_of_steps_times_weights_of_agents():
    random = np.random.default_rng(0)
    _, mask, _, _ = episodes()
    scores = np.where(mask, random.random(mask.shape), 0.0).astype(np.float32)
    found = np.asarray(jax.jit(shares)(scores, mask))
    for each, there, share in zip(scores, mask, found, strict=True):
        step = each.sum(axis=1) / each.sum()
        for time in np.flatnonzero(there.any(axis=1)):
            np.testing.assert_allclose(share[time], step[time] * each[time] / each[time].sum(), rtol=1e-4)
    even = np.asarray(jax.jit(shares)(0 * scores, mask))
    np.testing.assert_allclose(even, mask / mask.sum(axis=(1, 2), keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(jax.jit(shares)(1e-30 * scores, mask), found, rtol=1e-4)


def test_the_end_of_an_episode_is_the_last_step_of_each_agent_that_was_there():
    features, mask, *_ = episodes()
    mask[0, :, 1] = False
    expected = []
    for each, there in zip(features, mask, strict=True):
        present = np.flatnonzero(there.any(axis=0))
        ends = [each[np.flatnonzero(there[:, agent])[-1], agent] for agent in present]
        expected.append(np.mean(ends, axis=0))
    np.testing.assert_allclose(jax.jit(last)(features, mask), expected, rtol=1e-5)


# ---------------------------------------------------------------- Diaster


def gru_in_numpy(gru, features, mask, fresh):
    """The hidden state after each step of one sequence, step by step."""
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    (read,), (read_bias,) = gru.read.weights, gru.read.biases
    (recur,), (recur_bias,) = gru.recur.weights, gru.recur.biases
    width, found = len(recur_bias) // 3, []
    hidden = np.zeros(width)
    for x, there, anew in zip(features, mask, fresh, strict=True):
        hidden = 0 * hidden if anew else hidden
        a, b = (np.split(np.asarray(each), 3) for each in (x @ read + read_bias, hidden @ recur + recur_bias))
        update, reset = sigmoid(a[0] + b[0]), sigmoid(a[1] + b[1])
        if there:
            hidden = update * hidden + (1 - update) * np.tanh(a[2] + reset * b[2])
        found.append(hidden)
    return np.array(found)


def test_the_recurrent_unit_starts_afresh_and_waits_where_nobody_is():
    features, mask, *_ = episodes()
    gru = init_gru(jax.random.key(0), FEATURES, 5)
    anew = np.random.default_rng(0).random(mask.shape[:2]) < 0.3
    found = jax.jit(scan_gru)(gru, features[:, :, 1], mask[:, :, 1], anew)
    for index in range(len(features)):
        arguments = (each[index] for each in (features[:, :, 1], mask[:, :, 1], anew))
        np.testing.assert_allclose(found[index], gru_in_numpy(gru, *arguments), rtol=1e-4, atol=1e-6)


@cache
def diaster():
    method = Diaster("next", width=5, hidden=(8,), episodes=5, batch_steps=5 * TIME, rounds=3, batch_rows=16)
    return method, method.init(SPEC, jax.random.key(0))


def value(whole, features, mask):
    """F of the steps of one agent in one sub-trajectory; 0 without any."""
    if not mask.any():
        return 0.0
    hidden = gru_in_numpy(whole.unit, features, mask, np.zeros(len(mask), bool))[-1]
    return float(hidden @ np.asarray(whole.head.weights[0])[:, 0] + whole.head.biases[0][0])


def test_a_cut_makes_two_trajectories_of_one():
    features, mask, returns, _ = episodes()
    cut, (_, state) = np.array([1, 3, 4, 1, 2]), diaster()
    expected = []
    for each, there, total, place in zip(features, mask, returns, cut, strict=True):
        sides = (slice(None, place), slice(place, None))
        found = [value(state.whole, each[side, i], there[side, i]) for side in sides for i in range(AGENTS)]
        expected.append((total - sum(found)) ** 2)
    found = jax.jit(cut_loss)(state.whole, features, mask, returns, cut)
    assert found == pytest.approx(np.mean(expected), rel=1e-4)


def test_targets_are_differences_of_prefixes_that_end_at_the_return():
    features, mask, returns, _ = episodes()
    _, state = diaster()
    prefix = np.asarray(jax.jit(prefixes)(state.whole, features, mask))
    found = np.asarray(jax.jit(differences)(prefix, mask, returns))
    np.testing.assert_allclose(found.sum(axis=(1, 2)), returns, rtol=1e-4, atol=1e-5)
    assert not found[~mask].any()
    for episode in range(5):
        for agent in np.flatnonzero(mask[episode].any(axis=0)):
            steps = np.flatnonzero(mask[episode, :, agent])
            before = 0.0
            for step in steps[:-1]:
                upto = (each[episode, : step + 1, agent] for each in (features, mask))
                now = value(state.whole, *upto)
                assert found[episode, step, agent] == pytest.approx(now - before, rel=1e-3, abs=1e-5)
                before = now


def test_diaster_is_fitted_in_some_updates_only_where_episodes_are_long():
    features, mask, returns, lengths = episodes()
    method, state = diaster()
    method = replace(method, batch_steps=5 * TIME // 3)
    rows = jnp.zeros((3, 16), jnp.int32)
    batch = Batch(jnp.asarray(features), jnp.asarray(mask), jnp.asarray(returns), jnp.asarray(lengths))
    drawn, changed, update = (
        subtrajectories.Drawn(batch, jnp.ones(5, jnp.int32), rows),
        [],
        jax.jit(method.update, static_argnums=0),
    )
    for _ in range(7):
        after, shown = update(SPEC, state, drawn)
        changed.append(bool((after.whole.head.weights[0] != state.whole.head.weights[0]).any()))
        state = after
        assert np.isfinite(shown["decoder_loss"])
    assert changed == [True, False, False, True, False, False, True]


# ---------------------------------------------------------------- as methods


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_several_seeds_learn_side_by_side_what_each_learns_alone(name):
    features, mask, returns, lengths = map(jnp.asarray, episodes())
    method = PerEpisode(NETWORKS[name], "next")
    keys = jax.random.split(jax.random.key(0), 2)
    states = jax.vmap(partial(method.init, SPEC))(keys)
    drawn = Drawn(Batch(features, mask, returns, lengths), jax.random.key(1))
    if method.told:
        told = jnp.broadcast_to(returns[:, None, None, None], (*mask.shape, 1))
        drawn = drawn._replace(
            batch=drawn.batch._replace(features=jnp.concatenate([told, features], axis=-1))
        )

    def update(state, _):
        state, shown = method.update(SPEC, state, drawn)
        return state, shown["decoder_loss"]

    def losses(state):
        """Of two updates, and of the state after them."""
        return jax.lax.scan(update, state, length=3)[1]

    both = jax.jit(jax.vmap(losses))(states)
    alone = jax.jit(losses)(jax.tree.map(lambda leaf: leaf[1], states))
    np.testing.assert_allclose(both[1], alone, rtol=1e-3)
    assert alone[2] < alone[0]
    assert (both[0] != both[1]).all()


@pytest.mark.parametrize("method", ["stas", "arel", "tar2", "lare-stas"])
def test_attention_over_long_episodes_is_refused_before_anything_runs(method, tmp_path):
    encoder = lr.encoder_from_function(lambda o, a, n: n[:, :1], ("one",)) if method == "lare-stas" else None
    with pytest.raises(
        LareError, match=rf"^method: {method} lets every step .* 1000 steps .*; choose"
    ) as refused:
        lr.Credit(observation_space=2, action_space=ACTIONS, horizon=1000, method=method, encoder=encoder)
    assert "\n" not in str(refused.value)
    assert METHODS["stas"].replay.refusal(replace(SPEC, horizon=LONGEST)) == ""
    if encoder is None:
        with pytest.raises(LareError, match=rf"^method: {method} lets every step"):
            lr.train("HalfCheetah-v5", method, out=tmp_path / "run", quiet=True)
        assert not list(tmp_path.iterdir())


def test_heads_share_the_width():
    for network in (STAS, AREL, TAR2):
        with pytest.raises(LareError, match=r"^heads: 3 cannot share a width of 32; give a divisor"):
            network(heads=3)


PROBE = {"stas": 0.6, "stas-ml": 0.6, "arel": 0.5, "tar2": 0.6, "diaster": 0.4}


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBE)
def test_a_known_reward_is_recovered_better_than_by_chance(name):
    """The reward is −|o′₀ − o′₁|, told by the sum over episodes of different length."""
    random = np.random.default_rng(0)
    played, paid = [], []
    for _ in range(96):
        steps = random.integers(1, 7)
        seen = (random.normal(size=(steps + 1, 2)) + random.normal(size=2)).astype(np.float32)
        played.append(seen)
        paid.append(-np.abs(seen[1:, 0] - seen[1:, 1]))
    found = METHODS[name].replay
    small = {"width": 8, "hidden": (16,)} if name == "diaster" else {"batch_steps": 96, "learning_rate": 2e-3}
    recipe = Recipe(name, replace(found, input="next", **small))
    credit = lr.Credit(observation_space=2, action_space=ACTIONS, horizon=6, method=recipe)
    made = [
        lr.Episode(seen, np.zeros((len(seen) - 1, 1)), float(reward.sum()))
        for seen, reward in zip(played, paid, strict=True)
    ]
    credit.add(*made)
    credit.fit(300)
    rewards = np.concatenate([credit.episode_rewards(each) for each in made])
    assert np.corrcoef(rewards, np.concatenate(paid))[0, 1] > PROBE[name]
