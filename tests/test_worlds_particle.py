"""Particle worlds against slow loops in float64, against recorded episodes, and against mpe2."""

import os
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import particle_reference as reference
import pytest
from mpe2 import simple_spread_v3, simple_tag_v3
from safetensors.numpy import load_file

from latent_reward.envs.particle import cooperative_navigation as cn
from latent_reward.envs.particle import physics as particle
from latent_reward.envs.particle import predator_prey as pp
from latent_reward.envs.particle import prey, triangle_area
from latent_reward.envs.particle.physics import Bodies, Particles
from latent_reward.envs.worlds import find_world

KEY = jax.random.key(0)
SIGHT = {6: (3, 5, 2), 15: (3, 6, 3), 30: (5, 6, 5)}  # obstacles, predators and prey that a predator sees
RECORDED = Path(os.environ.get("LARE_RECORDED_EPISODES", "../shared/reference")) / "particle"


def mapped(function, **how):
    """Compiled over a batch: operation by operation takes far longer."""
    return jax.jit(jax.vmap(function, **how))


def still(observation):
    """A policy of prey that never moves."""
    return jnp.where(jnp.arange(5) == 0, 0.0, -jnp.inf) + 0 * observation[:, :1]


def many(count, body, seed=0):
    """``count`` states of everyone in a heap, so that all touch someone, and their float64 copies."""
    agents = len(body.acceleration)
    landmarks = agents if body.landmark_contact is None else body.landmark_contact.shape[1]
    rng = np.random.default_rng(seed)
    width = 1.2 * body.contact.max() * np.sqrt(agents)
    draw = lambda n: rng.uniform(-width, width, (count, n, 2)).astype(np.float32)  # noqa: E731
    state = Particles(draw(agents), rng.normal(size=(count, agents, 2)).astype(np.float32), draw(landmarks))
    wide = [Particles(*(leaf[i].astype(float) for leaf in state)) for i in range(count)]
    return jax.tree.map(jnp.asarray, state), wide


def agree(state, places, speeds):
    np.testing.assert_allclose(state.position, places, atol=2e-5)
    np.testing.assert_allclose(state.velocity, speeds, rtol=2e-5, atol=1e-4)


@pytest.mark.parametrize("agents", [6, 15, 30])
def test_cooperative_navigation_is_what_it_says(agents):
    world = find_world(f"cn-{agents}")
    state, wide = many(3, cn.bodies(agents))
    action = np.random.default_rng(1).integers(0, 5, (3, agents))
    outcome = mapped(world.step)(state, jnp.asarray(action), jax.random.split(KEY, 3))
    (observed,) = mapped(world.observe)(state)
    for i, (x, v, landmark) in enumerate(wide):
        force = reference.force_of(action[i], np.full(agents, 5.0))
        places, speeds = reference.move(x, v, landmark, force, lambda *_: 0.3)
        agree(jax.tree.map(lambda leaf, i=i: leaf[i], outcome.state), places, speeds)
        np.testing.assert_allclose(observed[i], reference.cn_observation(x, v, landmark), atol=1e-5)
        np.testing.assert_allclose(outcome.reward[i], reference.cn_reward(places, landmark), atol=1e-4)
    assert (outcome.reward < -1).any()  # some did touch


@pytest.mark.parametrize(("agents", "walled"), [(6, False), (15, True), (30, True)])
def test_competitive_predator_prey_is_what_it_says(agents, walled):
    world, scale = pp.competitive_pp(agents, walled=walled), pp.SCALES[agents]
    catch = {6: 0.125, 15: 0.03, 30: 0.015}[agents]
    touch = {6: 0.15, 15: 0.04, 30: 0.02}[agents]
    n = scale.predators + scale.prey
    state, wide = many(3, pp.bodies(scale))
    action = np.random.default_rng(1).integers(0, 5, (3, n))
    outcome = mapped(world.step)(state, jnp.asarray(action), jax.random.split(KEY, 3))
    seen = mapped(world.observe)(state)
    predator = np.arange(n) < agents
    for i, (x, v, landmark) in enumerate(wide):
        force = reference.force_of(action[i], np.where(predator, 3.0, 4.0))
        top = np.where(predator, 1.0, 1.3)
        places, speeds = reference.move(x, v, landmark, force, lambda *_: touch, lambda *_: touch, top)
        agree(jax.tree.map(lambda leaf, i=i: leaf[i], outcome.state), places, speeds)
        for who, rows in zip((np.arange(agents), np.arange(agents, n)), seen, strict=True):
            expected = reference.pp_observation(x, v, landmark, agents, (3, 5, 1), who)
            np.testing.assert_allclose(rows[i], expected, atol=1e-5)
        rewards = reference.pp_reward(places, agents, catch)
        if walled:
            rewards[agents:] -= [reference.wall(place) for place in places[agents:]]
        np.testing.assert_allclose(outcome.reward[i], rewards, atol=1e-4)
    assert (outcome.reward[:, :agents] > 5).any()  # some were caught


@pytest.mark.parametrize(("agents", "counts"), list(SIGHT.items()))
def test_predators_see_what_is_near(agents, counts):
    world, scale = pp.pp(agents, still), pp.SCALES[agents]
    state, wide = many(3, pp.bodies(scale))
    (seen,) = mapped(world.observe)(state)
    for rows, (x, v, landmark) in zip(seen, wide, strict=True):
        expected = reference.pp_observation(x, v, landmark, agents, counts, np.arange(agents))
        np.testing.assert_allclose(rows, expected, atol=1e-5)


def test_predator_prey_is_competitive_with_prey_of_a_policy():
    state, _ = many(3, pp.bodies(pp.SCALES[15]))
    action = jnp.asarray(np.random.default_rng(1).integers(0, 5, (3, 15)))
    keys = jax.random.split(KEY, 3)
    outcome = mapped(pp.pp(15, still).step)(state, action, keys)
    both = mapped(pp.competitive_pp(15).step)(state, jnp.pad(action, ((0, 0), (0, 5))), keys)
    np.testing.assert_array_equal(outcome.state.velocity, both.state.velocity)
    np.testing.assert_array_equal(outcome.reward, both.reward[:, :15])


def test_prey_draw_their_actions_from_the_softmax_of_what_their_policy_says():
    towards = lambda observation: jnp.log(jnp.array([0.1, 0.2, 0.3, 0.4, 0.0])) + 0 * observation[:, :1]  # noqa: E731
    world = pp.pp(6, towards)
    far = jnp.arange(16.0).reshape(8, 2) * 10  # nobody touches anybody
    state = Particles(far, jnp.zeros((8, 2)), -10 * jnp.ones((3, 2)))
    step = mapped(world.step, in_axes=(None, None, 0))
    moved = step(state, jnp.zeros(6, int), jax.random.split(KEY, 4000)).state.velocity[:, 6:].reshape(-1, 2)
    share = [
        np.isclose(moved, 0.4 * np.array(way)).all(axis=1).mean()
        for way in [(0, 0), (-1, 0), (1, 0), (0, -1)]
    ]
    np.testing.assert_allclose(share, [0.1, 0.2, 0.3, 0.4], atol=0.02)


@pytest.mark.parametrize("agents", [6, 15, 30])
def test_prey_that_come_with_the_package_are_two_tanh_layers(agents):
    tensors = load_file(prey.FOLDER / f"pp-{agents}.safetensors")
    seen = np.random.default_rng(0).normal(size=(7, 24))
    rows = np.tanh(
        np.tanh(seen @ tensors["weight.0"] + tensors["bias.0"]) @ tensors["weight.1"] + tensors["bias.1"]
    )
    expected = rows @ tensors["weight.2"] + tensors["bias.2"]
    assert expected.shape == (7, 5)
    logits = prey.load_prey(f"pp-{agents}")(jnp.asarray(seen, float))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("agents", [6, 15, 30])
def test_prey_that_come_with_the_package_escape(agents):
    def caught(world):
        def step(state, key):
            offset = world.observe(state)[0][:, 4 + 2 * (SIGHT[agents][0] + SIGHT[agents][1]) :][:, :2]
            sideways = jnp.abs(offset[:, 0]) > jnp.abs(offset[:, 1])
            axis = jnp.where(sideways, 1 + (offset[:, 0] > 0), 3 + (offset[:, 1] > 0))  # run at the nearest
            outcome = world.step(state, axis, key)
            return outcome.state, (outcome.reward > 0).sum()

        def episode(key):
            return jax.lax.scan(step, world.reset(key), jax.random.split(key, world.horizon))[1].sum()

        return mapped(episode)(jax.random.split(KEY, 100)).mean()

    random = pp.pp(agents, lambda seen: jnp.zeros((len(seen), 5)))
    assert caught(find_world(f"pp-{agents}")) < 0.5 * caught(random)


def test_triangle_area_is_what_it_says():
    world = find_world("area")
    state, wide = many(8, triangle_area.BODIES)
    action = np.random.default_rng(1).integers(0, 5, (8, 3))
    outcome = mapped(world.step)(state, jnp.asarray(action), jax.random.split(KEY, 8))
    (observed,) = mapped(world.observe)(state)
    for i, (x, v, landmark) in enumerate(wide):
        force = reference.force_of(action[i], np.full(3, 5.0))
        places, speeds = reference.move(x, v, landmark, force, lambda *_: 0.3, lambda *_: 0.55)
        agree(jax.tree.map(lambda leaf, i=i: leaf[i], outcome.state), places, speeds)
        np.testing.assert_allclose(observed[i], reference.area_observation(x, v, landmark), atol=1e-5)
        np.testing.assert_allclose(outcome.reward[i], reference.area_reward(places, landmark), atol=1e-4)


@pytest.mark.parametrize(
    "line", [[(0, 0), (1, 1), (2, 2)], [(1, 1), (1, 1), (1, 1)], [(0.1, 0.3), (0.2, 0.6), (0.7, 2.1)]]
)
def test_corners_in_line_span_no_area(line):
    corners = jnp.array(line, float)
    np.testing.assert_allclose(triangle_area.area(corners), 0.0, atol=1e-6)


def test_discs_at_one_point_stay_finite():
    for world in (find_world("cn-6"), find_world("area"), find_world("competitive-pp")):
        state = jax.tree.map(jnp.zeros_like, jax.jit(world.reset)(KEY))
        outcome = jax.jit(world.step)(state, jnp.zeros(sum(team.agents for team in world.teams), int), KEY)
        for leaf in jax.tree.leaves((outcome, jax.jit(world.observe)(state))):
            assert np.isfinite(leaf).all()


@pytest.mark.parametrize("agents", [6, 15, 30])
def test_landmarks_lie_apart_and_everywhere(agents):
    half_width = {6: 1.5, 15: 2.2, 30: 3.0}[agents]
    worlds = 400
    state = mapped(find_world(f"cn-{agents}").reset)(jax.random.split(KEY, worlds))
    assert state.landmark.shape == (worlds, agents, 2)
    gap = np.linalg.norm(state.landmark[:, :, None] - state.landmark[:, None], axis=-1)
    gap += np.where(np.eye(agents), np.inf, 0)
    assert gap.min() >= 0.675 - 1e-6
    assert 0.675 < np.median(gap.min(axis=(1, 2))) < 0.95  # no farther apart than they must be
    for points in (state.landmark, state.position):
        assert np.abs(points).max() <= half_width
        # Uniform: each axis has mean 0 and every quarter of the square its share.
        flat = np.asarray(points).reshape(-1, 2)
        share = np.mean((flat[:, 0] > 0) & (flat[:, 1] > 0))
        np.testing.assert_allclose(share, 0.25, atol=4 * np.sqrt(0.19 / len(flat)))
        np.testing.assert_allclose(np.abs(flat).mean(axis=0), half_width / 2, rtol=0.08)
    assert len({landmark.tobytes() for landmark in np.asarray(state.landmark)}) == worlds
    np.testing.assert_array_equal(state.velocity, 0.0)


def recorded(name):
    if not RECORDED.is_dir():
        pytest.skip(f"no recorded episodes in {RECORDED}; LARE_RECORDED_EPISODES may name their folder")
    data = np.load(RECORDED / f"{name}.npz")
    flat = lambda leaf: jnp.asarray(leaf.reshape(-1, *leaf.shape[2:]), float)  # noqa: E731
    landmark = flat(np.repeat(data["landmark"][:, None], 25, axis=1))
    states = lambda part: Particles(flat(data["pos"][:, part]), flat(data["vel"][:, part]), landmark)  # noqa: E731
    step = {key: flat(data[key]) for key in ("force", "reward")}
    seen = flat(data["obs"][:, :-1])
    action = flat(data["action"]).astype(int)
    return SimpleNamespace(
        before=states(slice(None, -1)), after=states(slice(1, None)), seen=seen, action=action, **step
    )


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("simple_spread_n6_noshare", "cn-6"),
        ("simple_spread_n15_noshare", "cn-15"),
        ("simple_spread_n30_noshare", "cn-30"),
        ("hetero_tag_n6_noshare", "competitive-pp"),
        ("simple_area", "area"),
    ],
)
def test_a_recorded_episode_happens_again(file, name):
    was, world = recorded(file), find_world(name)
    outcome = mapped(world.step)(was.before, was.action, jax.random.split(KEY, len(was.action)))
    agree(outcome.state, was.after.position, was.after.velocity)
    np.testing.assert_allclose(outcome.reward, was.reward, atol=1e-5)
    seen = np.concatenate(mapped(world.observe)(was.before), axis=1)
    np.testing.assert_allclose(seen, was.seen, atol=1e-5)


@pytest.mark.parametrize("agents", [6, 15, 30])
def test_a_recorded_hunt_happens_again(agents):
    was, scale = recorded(f"simple_tag_n{agents}_noshare"), pp.SCALES[agents]
    moved = mapped(lambda state, force: particle.advance(pp.bodies(scale), state, force))(
        was.before, was.force
    )
    agree(moved, was.after.position, was.after.velocity)
    strength = mapped(lambda action: particle.control(pp.bodies(scale), action))(
        jnp.pad(was.action, ((0, 0), (0, scale.prey)))
    )
    np.testing.assert_allclose(strength[:, :agents], was.force[:, :agents])
    rewards = mapped(lambda state: pp.reward(scale, state))(was.after)
    np.testing.assert_allclose(rewards[:, :agents], was.reward, atol=1e-5)
    (seen,) = mapped(pp.pp(agents, still).observe)(was.before)
    np.testing.assert_allclose(seen, was.seen, atol=1e-5)


def by_pair(env, body_of_landmark):
    """The bodies of an environment of mpe2, where each pair meets at the sum of its radii."""
    agents, landmarks = env.world.agents, env.world.landmarks
    size = lambda things: np.array([each.size for each in things])  # noqa: E731
    contact = np.where(np.eye(len(agents), dtype=bool), -1.0, np.add.outer(size(agents), size(agents)))
    limits = [each.max_speed for each in agents]
    return Bodies(
        np.array([each.accel or 5.0 for each in agents]),
        contact,
        np.add.outer(size(agents), size(landmarks)) if body_of_landmark else None,
        None if limits[0] is None else np.array(limits),
    )


@pytest.mark.parametrize("game", ["spread", "tag"])
def test_velocities_are_those_of_mpe2(game):
    make = {
        "spread": lambda: simple_spread_v3.parallel_env(N=6),
        "tag": lambda: simple_tag_v3.parallel_env(num_good=2, num_adversaries=6, num_obstacles=3),
    }
    env = make[game]()
    env.reset(seed=0)
    inner = env.unwrapped
    body = by_pair(inner, game == "tag")
    rng = np.random.default_rng(0)
    for _ in range(10):
        heap, speeds = rng.uniform(-0.4, 0.4, (11 + 6, 2)), rng.normal(size=(8, 2))
        for thing, place in zip(inner.world.agents + inner.world.landmarks, heap, strict=False):
            thing.state.p_pos = place.copy()
        for agent, speed in zip(inner.world.agents, speeds, strict=False):
            agent.state.p_vel = speed.copy()
        n = len(inner.world.agents)
        landmark = heap[n : n + len(inner.world.landmarks)]
        action = rng.integers(0, 5, n)
        env.step(dict(zip(env.possible_agents, action, strict=True)))
        state = Particles(*(jnp.asarray(leaf, float) for leaf in (heap[:n], speeds[:n], landmark)))
        after = particle.advance(body, state, particle.control(body, jnp.asarray(action)))
        theirs = np.array([agent.state.p_vel for agent in inner.world.agents])
        np.testing.assert_allclose(after.velocity, theirs, rtol=2e-5, atol=1e-4)
        # mpe2 moves by the velocity from before the step, the published worlds by the one after it.
        places = np.array([agent.state.p_pos for agent in inner.world.agents])
        np.testing.assert_allclose(places, heap[:n] + 0.1 * speeds[:n], atol=1e-6)
        np.testing.assert_allclose(after.position, heap[:n] + 0.1 * theirs, atol=2e-5)
