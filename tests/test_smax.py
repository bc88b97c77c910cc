"""SMAX worlds against the package they come from, their descriptions, and what a battle does to a team."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_reward.encoder.bundled import bundled_folder
from latent_reward.encoder.encoder import load
from latent_reward.envs.smax import MAPS, battle
from latent_reward.envs.worlds import find_world
from latent_reward.errors import LareError
from latent_reward.task.load import load_description, load_task

INSTALLED = importlib.util.find_spec("jaxmarl") is not None
needs_jaxmarl = pytest.mark.skipif(not INSTALLED, reason="jaxmarl is not installed (extra `smax`)")
KEY = jax.random.key(0)


@pytest.mark.skipif(INSTALLED, reason="jaxmarl is installed")
def test_without_the_package_the_message_says_what_to_install():
    with pytest.raises(LareError, match=r"smax-3m needs the package jaxmarl.*latent-reward\[smax\]"):
        find_world("smax-3m")


@needs_jaxmarl
@pytest.mark.parametrize("name", MAPS)
def test_fields_stand_where_the_package_puts_them(name, capsys):
    env, task = battle(name), load_description(f"smax-{name}")
    assert capsys.readouterr() == ("", "")
    allies, enemies, block = env.num_allies, env.num_enemies, len(env.unit_features)
    fields = {each.name: each.indices for each in task.observation}
    assert fields["allies"] == range(block * (allies - 1))
    assert fields["enemies"] == range(block * (allies - 1), block * (allies - 1 + enemies))
    begin = fields["health"].start
    own = {name: begin + env.own_features.index(name) for name in ("health", "position_x", "position_y")}
    assert {name: fields[name].start for name in own} == own
    assert fields["cooldown"].start == begin + env.own_features.index("weapon_cooldown")
    assert fields["type"] == range(begin + 4, begin + 10)
    assert env.unit_type_names[:6] == ["marine", "marauder", "stalker", "zealot", "zergling", "hydralisk"]
    assert {each.name: each.indices for each in task.action}["attack"] == range(5, 5 + enemies)


@pytest.fixture(scope="module")
def battles():
    """Fifty battles of 3m under random actions: what the world says, and what its units went through."""
    world = find_world("smax-3m")

    def step(state, key):
        k_action, k_step = jax.random.split(key)
        available = world.available(state)
        action = jax.random.categorical(k_action, jnp.where(available, 0.0, -jnp.inf))
        after = world.step(state, action, k_step)
        told = (world.observe(state)[0], available, world.alive(state), world.won(after.state), action)
        units = state.state
        seen = (units.unit_health, units.unit_positions, after.state.state.unit_health)
        return after.state, (told, after.reward, after.terminated, seen)

    def episode(key):
        return jax.lax.scan(step, world.reset(key), jax.random.split(key, world.horizon))[1]

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(episode))(jax.random.split(KEY, 50)))


@needs_jaxmarl
def test_a_return_is_the_damage_and_the_victory(battles):
    (_, _, _, won, _), reward, over, (_, _, after) = battles
    last = np.argmax(over, axis=1)
    assert over.any(axis=1).all()
    assert last.min() > 5
    assert last.max() < 99
    episodes = np.arange(len(last))
    returns = reward.sum(axis=(1, 2))  # those who play on after the end are paid nothing more
    damage = 1.0 - after[episodes, last, 3:].sum(axis=1) / 135.0  # three marines of 45
    np.testing.assert_allclose(returns, damage + won[episodes, last], rtol=1e-4)
    enemies, allies = (after[episodes, last, part].sum(axis=1) for part in (slice(3, 6), slice(0, 3)))
    np.testing.assert_array_equal(won[episodes, last], (enemies == 0) & (allies > 0))
    assert ((enemies == 0) | (allies == 0)).all()


@needs_jaxmarl
def test_the_dead_earn_see_and_do_nothing(battles):
    (observation, available, alive, _, _), reward, _, (health, _, _) = battles
    np.testing.assert_array_equal(alive, health[:, :, :3] > 0)
    assert (~alive).any()
    assert (reward[~alive] == 0).all()
    assert (observation[~alive] == 0).all()
    only_stop = np.arange(8) == 4
    np.testing.assert_array_equal(available[~alive], np.broadcast_to(only_stop, available[~alive].shape))
    assert available[alive][:, :5].all()


@needs_jaxmarl
def test_what_is_available_is_within_range_and_moves_go_where_they_say(battles):
    (_, available, alive, _, action), _, _, (health, place, _) = battles
    apart = np.linalg.norm(place[:, :, :3, None] - place[:, :, None, 3:], axis=-1)
    can = (apart < 5.0) & (health[:, :, None, 3:] > 0) & alive[..., None]
    clear = np.abs(apart - 5.0) > 1e-4
    np.testing.assert_array_equal(available[..., 5:][clear], can[clear])
    moved = place[:, 1:, :3] - place[:, :-1, :3]
    at_ease = alive[:, :-1] & (np.abs(moved).max(axis=-1) > 1.0)  # the others were pushed or stood still
    directions = np.array([[0, 1], [1, 0], [0, -1], [-1, 0]])
    for chosen, direction in enumerate(directions):
        along = moved[at_ease & (action[:, :-1] == chosen)] @ direction
        assert len(along) > 100
        assert np.median(along) == pytest.approx(3.15 * 0.5, rel=1e-3)


@needs_jaxmarl
def test_the_described_numbers_are_the_units_own(battles):
    (observation, _, alive, _, _), _, _, (health, place, _) = battles
    fields = {each.name: each.index for each in load_description("smax-3m").observation}
    for agent in range(3):
        here = alive[:, :, agent]
        own = observation[:, :, agent]
        np.testing.assert_allclose(own[here][:, fields["health"]], health[here][:, agent] / 45, rtol=1e-5)
        at = own[here][:, fields["position_x"] : fields["position_x"] + 2] * 32
        np.testing.assert_allclose(at, place[here][:, agent], rtol=1e-4)
        for enemy in range(3):
            block = own[:, :, fields["enemies"] + 13 * enemy :]
            seen = here & (block[:, :, 0] > 0)
            assert seen.sum() > 50
            offset = place[seen][:, 3 + enemy] - place[seen][:, agent]
            np.testing.assert_allclose(block[seen][:, 1:3] * 9.0, offset, atol=1e-3)
            np.testing.assert_allclose(block[seen][:, 0], health[seen][:, 3 + enemy] / 45, rtol=1e-5)


@needs_jaxmarl
def test_latents_of_a_team_add_up_to_what_it_is_paid(battles):
    (observation, _, alive, _, action), reward, over, _ = battles
    encoder = load(bundled_folder("smax-3m", 0))
    running = (np.cumsum(over, axis=1) - over == 0)[
        :, :-1
    ]  # the observation after the last step is not there
    acts = (alive[:, :-1] & running[..., None]).reshape(-1)
    rows = (
        observation[:, 1:].reshape(-1, 75)[acts],
        np.eye(8, dtype=np.float32)[action[:, :-1].reshape(-1)[acts]],
    )
    features = np.zeros((len(acts), 2 * len(encoder.latent_names) + 1))
    latents = np.asarray(encoder.encode(*rows))
    features[acts] = np.concatenate([latents, latents**2, np.ones((len(latents), 1))], axis=1)
    team = features.reshape(*running.shape, 3, -1).sum(axis=2)[running]
    paid = reward[:, :-1].sum(axis=2)[running]
    fit = team @ np.linalg.lstsq(team, paid, rcond=1e-6)[0]
    assert 1 - np.mean((paid - fit) ** 2) / np.var(paid) > 0.85


@needs_jaxmarl
def test_a_frame_shows_the_living():
    world = find_world("smax-3m")
    state = jax.jit(world.reset)(KEY)
    frame = world.render(state)
    assert (frame.shape, frame.dtype) == ((400, 400, 3), np.uint8)
    nobody = state.replace(state=state.state.replace(unit_alive=jnp.zeros(6, bool)))
    assert (world.render(nobody) == 255).all()
    assert (frame != 255).any()


def test_a_team_task_of_smax_needs_no_package_to_be_read():
    assert load_task("smax-5m_vs_6m").teams[0].agents == 5
