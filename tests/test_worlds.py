"""What every world keeps: shapes, determinism, a horizon without end before it, a picture."""

import re
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_reward.data.spaces import Discrete
from latent_reward.envs.base import Team
from latent_reward.envs.worlds import WORLDS, find_world
from latent_reward.errors import LareError

KEY = jax.random.key(0)
PARTICLES = [name for name in WORLDS if not name.startswith("smax")]  # those have tests of their own


@pytest.mark.parametrize("name", PARTICLES)
def test_a_world_keeps_its_shapes(name):
    world = find_world(name)
    assert find_world(name) is world
    assert world.name == name

    state = jax.jit(jax.vmap(world.reset))(jax.random.split(KEY, 3))
    moves = [size for team in world.teams for size in [team.actions.size] * team.agents]
    actions = jnp.asarray(np.random.default_rng(0).integers(0, moves, (3, len(moves))))
    outcome = jax.jit(jax.vmap(world.step, in_axes=(0, 0, None)))(state, actions, KEY)
    assert jax.tree.map(jnp.shape, outcome.state) == jax.tree.map(jnp.shape, state)
    assert outcome.reward.shape == (3, len(moves))
    assert outcome.terminated.shape == (3,)
    assert not outcome.terminated.any()
    for team, observation in zip(world.teams, jax.jit(jax.vmap(world.observe))(outcome.state), strict=True):
        assert observation.shape == (3, team.agents, team.observation_size)
    for leaf in jax.tree.leaves((state, outcome)):
        assert np.isfinite(leaf).all()


@pytest.mark.parametrize("name", PARTICLES)
def test_a_frame_shows_where_the_agents_are(name):
    world = find_world(name)
    state = jax.jit(world.reset)(KEY)
    frame = world.render(state)
    assert frame.dtype == np.uint8
    assert frame.shape == (400, 400, 3)
    away = state._replace(position=state.position + 1e3, landmark=state.landmark + 1e3)
    assert (world.render(away) == 255).all()
    assert (frame == world.render(state)).all()
    assert (frame != world.render(state._replace(position=state.position + 0.1))).any()


def test_an_unknown_world_has_near_misses():
    with pytest.raises(LareError, match=r"cn-16.*cn-1"):
        find_world("cn-16")


def test_somebody_must_learn():
    nobody = Team("nobody", 0, 4, Discrete(5))
    for teams, what in (((), "no team"), ((nobody,), "a team without agents")):
        with pytest.raises(
            LareError, match=rf"^teams: the world cn-6 has {what}; give it teams of at least one"
        ):
            replace(find_world("cn-6"), teams=teams)


def test_the_examples_of_the_documents_run():
    page = (Path(__file__).parents[1] / "docs/worlds.md").read_text("utf-8")
    scope: dict = {}
    for block in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        exec(block, scope)
    assert scope["outcome"].reward.shape == (64, 6)
    world = scope["meeting"](4)
    state = jax.vmap(world.reset)(jax.random.split(KEY, 3))
    (seen,) = jax.vmap(world.observe)(state)
    assert seen.shape == (3, 4, world.teams[0].observation_size)
    outcome = jax.vmap(world.step, in_axes=(0, 0, None))(state, jnp.zeros((3, 4), int), KEY)
    apart = np.linalg.norm(outcome.state.position[:, :, None] - outcome.state.position[:, None], axis=-1)
    np.testing.assert_allclose(outcome.reward, -apart.mean(axis=2), rtol=1e-5)
    assert world.render(jax.tree.map(lambda leaf: leaf[0], state)).shape == (400, 400, 3)
