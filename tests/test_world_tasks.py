"""Tasks of teams: each field of an observation holds what its meaning says, and goals name the true sizes."""

import re
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_reward.envs.particle import cooperative_navigation, predator_prey, triangle_area
from latent_reward.envs.worlds import find_world
from latent_reward.task.leakage import leaks
from latent_reward.task.load import load_task, task_names

KINDS = ("cn", "pp", "competitive", "area")
WORLDS = tuple(name for name in task_names() if name.split("-")[0] in KINDS)
TEAMS = [(name, team.name) for name in WORLDS for team in load_task(name).teams]


def agents_of(world):
    return sum(team.agents for team in world.teams)


def moves_of(world):
    """How many actions every agent has."""
    (actions,) = {team.actions for team in world.teams}
    return actions.size


@cache
def moment(name):
    """A world in the middle of an episode: its state in float64, and what each team sees."""
    world = find_world(name)

    def step(state, key):
        action = jax.random.randint(key, (agents_of(world),), 0, moves_of(world))
        return world.step(state, action, key).state, None

    @jax.jit
    def play(key):
        state = jax.lax.scan(step, world.reset(key), jax.random.split(key, 10))[0]
        return state, world.observe(state)

    state, seen = play(jax.random.key(7))
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), state), seen


def of_team(name, team):
    """The team's description, its first agent's place among all, and what its members see."""
    teams = load_task(name).teams
    index = [each.name for each in teams].index(team)
    return teams[index], sum(each.agents for each in teams[:index]), np.asarray(moment(name)[1][index])


@cache
def members(name):
    """Places of predators and of prey among the agents, those that do not learn included."""
    size = len(moment(name)[0].position)
    if name == "area" or name.startswith("cn"):
        return {"agents": range(size)}
    predators = load_task(name).teams[0].agents
    return {"predators": range(predators), "prey": range(predators, size)}


def seen_by(name, team, me, field):
    """What the meaning of a field says, from the state, one agent and one object at a time."""
    state = moment(name)[0]
    kinds = members(name)
    own_kind = kinds[team]
    fixed = {"velocity_x": (0, 0), "velocity_y": (0, 1), "position_x": (1, 0), "position_y": (1, 1)}
    if field.name in fixed:
        which, axis = fixed[field.name]
        return [(state.velocity, state.position)[which][me, axis]]
    kind = {"others": own_kind, "other_velocities": own_kind, "prey_velocities": kinds.get("prey")}.get(
        field.name, kinds.get(field.name)
    )
    if field.name == "landmarks":
        offsets = [place - state.position[me] for place in state.landmark]
        speeds = offsets
    else:
        offsets = [state.position[other] - state.position[me] for other in kind if other != me]
        speeds = [state.velocity[other] for other in kind if other != me]
    if "nearest" in field.meaning or "velocit" in field.name:
        order = sorted(range(len(offsets)), key=lambda each: float(np.hypot(*offsets[each])))
    elif "smaller x" in field.meaning:
        order = sorted(range(len(offsets)), key=lambda each: float(offsets[each][0]))
    else:
        order = list(range(len(offsets)))
    values = speeds if "velocit" in field.name else offsets
    return [number for each in order for number in values[each]][: field.count]


def test_the_published_worlds_have_tasks():
    published = {f"{kind}-{agents}" for kind in ("cn", "pp") for agents in (6, 15, 30)}
    assert set(WORLDS) == published | {"competitive-pp", "area"}


@pytest.mark.parametrize(("name", "team"), TEAMS)
def test_each_field_holds_what_its_meaning_says(name, team):
    description, first, seen = of_team(name, team)
    for me in range(description.agents):
        for field in description.observation:
            expected = seen_by(name, team, first + me, field)
            np.testing.assert_allclose(
                seen[me, field.index : field.indices.stop], expected, atol=1e-5, err_msg=field.name
            )


@pytest.mark.parametrize(("name", "team"), TEAMS)
def test_meanings_count_what_is_listed(name, team):
    for field in of_team(name, team)[0].observation:
        count = re.search(r"the (\d+) (?:nearest|landmarks|other agents)", field.meaning)
        assert int(count[1]) * 2 == field.count if count else field.count in (1, 2) or "same" in field.meaning
        assert (field.unit == "m/s") == ("velocit" in field.name)


@pytest.mark.parametrize(("name", "team"), TEAMS)
def test_each_action_pushes_the_way_its_name_says(name, team):
    description, first, _ = of_team(name, team)
    world = find_world(name)
    far_apart = jnp.arange(len(moment(name)[0].position))[:, None] * jnp.array([10.0, 3.0])
    state = world.reset(jax.random.key(0))
    state = state._replace(position=far_apart, velocity=0 * far_apart, landmark=state.landmark - 100.0)
    ways = {"none": (0, 0), "push -x": (-1, 0), "push +x": (1, 0), "push -y": (0, -1), "push +y": (0, 1)}
    step = jax.jit(world.step)
    for field in description.action:
        everyone = jnp.full(agents_of(world), field.index)
        velocity = np.asarray(step(state, everyone, jax.random.key(1)).state.velocity)
        own = velocity[first : first + description.agents]
        np.testing.assert_array_equal(np.sign(np.round(own, 6)), [ways[field.name]] * len(own))
        assert ("negative" in field.meaning, "positive" in field.meaning) == (
            "-" in field.name,
            "+" in field.name,
        )
        assert field.meaning.endswith(f"{field.name[-1]}" if field.name != "none" else "does nothing")


def sizes(name):
    """Distance at which two things touch in the world, and how many there are of each."""
    if name.startswith("cn"):
        return 2 * cooperative_navigation.SIZE, {"agents": int(name[3:]), "landmarks": int(name[3:])}
    if name == "area":
        return triangle_area.SIZE + triangle_area.LANDMARK_SIZE, {"agents": 3, "landmarks": 3}
    scale = predator_prey.SCALES[6 if name == "competitive-pp" else int(name[3:])]
    counts = {"predators": scale.predators, "prey": scale.prey, "landmarks": scale.landmarks}
    return scale.catch_distance, counts


@pytest.mark.parametrize(("name", "team"), TEAMS)
def test_goals_name_true_sizes_and_the_plain_one_names_none(name, team):
    goal = of_team(name, team)[0].goal
    touch, counts = sizes(name)
    distances = [float(number) for number in re.findall(r"(\d+\.\d+) m\b", goal["paper"])]
    assert distances[-1] == pytest.approx(touch)
    for text in goal.values():
        for what, count in counts.items():
            named = re.findall(rf"(\d+) (?:faster )?{what}", text)
            assert set(named) <= {str(count)}
            assert named or what == "landmarks"
    assert not re.search(r"\d\.\d|distance|radius|collision", goal["plain"])
    assert leaks(load_task(name), ("plain",)) == []
