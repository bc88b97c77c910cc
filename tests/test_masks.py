"""Agents that cannot always choose every action: masks in observations and infos, and other numbers of actions."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import latent_reward as lr
from latent_reward.agents.base import Actor, AgentSpec
from latent_reward.agents.policies import policy_of
from latent_reward.agents.ppo import PPO, Rows
from latent_reward.data.spaces import Discrete
from latent_reward.design.play import allowed
from latent_reward.envs.pettingzoo import world_of
from latent_reward.envs.recorder import collect
from latent_reward.envs.trial import try_out
from latent_reward.task.draft import draft_task

pytestmark = pytest.mark.usefixtures("compile_fast")

SPACES = gymnasium.spaces
STEPS = 6
TEAMS = {
    "iterations": 3, "episodes": 4, "first_updates": 2, "updates": 1, "evaluate_every": 1, "evaluation_episodes": 2,
    "agent": {"hidden": (4,), "epochs": 1, "minibatch": 8, "learning_rate": 0.1}, "quiet": True,
}  # fmt: skip


class Cards:
    """Each of three agents holds cards; a card that was played cannot be played again.

    ``form`` says where the mask is: in the observation, in infos, or in infos after the reset only. Agents have
    ``counts`` cards and see ``sizes`` numbers. Playing a card that is not there is an error.
    """

    metadata = {"name": "cards"}  # noqa: RUF012
    max_cycles = STEPS

    def __init__(self, form="observation", counts=(6, 6, 6), sizes=(3, 3, 3), dtype=np.int8):
        self.form, self.dtype = form, dtype
        self.possible_agents, self.agents = [f"player_{i}" for i in range(len(counts))], []
        self.counts = dict(zip(self.possible_agents, counts, strict=True))
        self.sizes = dict(zip(self.possible_agents, sizes, strict=True))

    def observation_space(self, agent):
        box = SPACES.Box(-10, 10, (self.sizes[agent],), np.float32)
        if self.form != "observation":
            return box
        mask = SPACES.Box(0, 1, (self.counts[agent],), self.dtype)
        return SPACES.Dict({"observation": box, "action_mask": mask})

    def action_space(self, agent):
        return SPACES.Discrete(self.counts[agent])

    def mask(self, agent):
        return np.array([card in self.cards[agent] for card in range(self.counts[agent])], self.dtype)

    def see(self, agent):
        seen = np.full(self.sizes[agent], self.t, np.float32)
        return {"observation": seen, "action_mask": self.mask(agent)} if self.form == "observation" else seen

    def infos(self, agents):
        told = self.form == "infos" or (self.form == "late infos" and self.t > 0)
        return {each: {"action_mask": self.mask(each)} if told else {} for each in agents}

    def reset(self, seed=None, options=None):
        self.t, self.agents = 0, list(self.possible_agents)
        self.cards = {each: set(range(count)) for each, count in self.counts.items()}
        return {each: self.see(each) for each in self.agents}, self.infos(self.agents)

    def step(self, actions):
        self.t += 1
        there = list(self.agents)
        for agent, card in actions.items():
            assert self.action_space(agent).contains(card), f"{agent} has no card {card}"
            if self.form != "none" and len(self.cards[agent]) > 1:
                self.cards[agent].remove(card)  # KeyError if it is not there
        paid = {each: float(actions[each]) for each in there}
        cut = dict.fromkeys(there, self.t >= self.max_cycles)
        self.agents = [] if self.t >= self.max_cycles else there
        results = {each: self.see(each) for each in there}, paid, dict.fromkeys(there, False), cut
        return *results, self.infos(there)


FORMS = ["observation", "infos", "late infos"]


@pytest.mark.parametrize(("form", "dtype"), [*zip(FORMS, [np.int8, bool, np.float32], strict=True)])
def test_no_action_that_is_masked_is_ever_taken(form, dtype, tmp_path):
    """The environment raises if a card is played twice, in training and in evaluations."""
    made = lambda: Cards(form, dtype=dtype)  # noqa: E731
    run = lr.train(made, "rrd-unbiased", out=tmp_path / "run", **TEAMS)
    # Every agent has played all of its six cards once: 0 + 1 + … + 5 each.
    assert run.evaluate(3)["player"].tolist() == [[45.0] * 3]
    assert [row["return_mean"] for row in run.metrics] == [45.0] * 3


@pytest.mark.parametrize("form", FORMS)
def test_masks_are_recorded_as_they_were_given(form):
    world = world_of("cards", lambda mode: Cards(form, counts=(6, 4, 5)), {"all": ()}, STEPS)
    seen = []

    def choose(step, observations, available):
        seen.append(available[0].copy())
        return [(available[0].argmax(axis=-1), np.zeros((1, 3), np.float32))]

    (arrays,) = collect(world, [world.make(None)], (0,), choose)
    for step in range(STEPS):
        for agent, count in enumerate((6, 4, 5)):
            cards = np.arange(6) >= min(
                step, count - 1
            )  # the lowest card is played first, the last one stays
            expected = cards & (np.arange(6) < count)
            np.testing.assert_array_equal(arrays.available[0, step, agent], expected)
            np.testing.assert_array_equal(seen[step][0, agent], expected)


def test_a_team_may_have_other_numbers_of_actions_and_observations(tmp_path, monkeypatch):
    make = lambda: Cards("none", counts=(2, 5, 3), sizes=(4, 2, 3))  # noqa: E731
    world = world_of("cards", lambda mode: make(), {"all": ()}, STEPS)
    (team,) = world.teams
    assert (team.observation_size, team.actions, team.masked) == (4, Discrete(5), True)
    choose = lambda step, *_: [(np.array([[1, 4, 2]]), np.zeros((1, 3), np.float32))]  # noqa: E731
    (arrays,) = collect(world, [world.make(None)], (0,), choose)
    np.testing.assert_array_equal(arrays.observation[0, 2], [[2, 2, 2, 2], [2, 2, 0, 0], [2, 2, 2, 0]])
    np.testing.assert_array_equal(arrays.available[0, 3].sum(axis=-1), [2, 5, 3])
    monkeypatch.syspath_prepend(__file__.rpartition("/")[0])
    assert draft_task("test_masks:cards").count("- name: player") == 3  # a draft keeps them apart
    task = tmp_path / "cards.yaml"
    names = {"index": 0, "name": "x", "meaning": "a number"}
    task.write_text(
        f"name: cards\npettingzoo: test_masks:cards\nmax_steps: {STEPS}\nteams:\n  - name: all\n    agents: 3\n"
        f"    goal: {{plain: play, paper: play}}\n    observation: [{ ({**names, 'count': 4}) }]\n"
        f"    action: [{ ({**names, 'count': 5}) }]\n"
    )
    run = lr.train(str(task), "rrd-unbiased", out=tmp_path / "run", **TEAMS)
    assert len(run.metrics) == 3
    with pytest.raises(
        lr.LareError, match=r"^available: the all cannot always choose every action; give the mask"
    ):
        run.act(np.zeros((2, 4), np.float32))
    mask = np.array([[True, False, False, False, False], [False, True, False, False, False]])
    assert run.act(np.zeros((2, 4), np.float32), available=mask).tolist() == [0, 1]
    with pytest.raises(lr.LareError, match=r"^available: a mask allows no action"):
        run.act(np.zeros((2, 4), np.float32), available=mask & False)
    with pytest.raises(lr.LareError, match=r"^available: a mask of shape \(2, 4\) does not fit"):
        run.act(np.zeros((2, 4), np.float32), available=mask[:, :4])


def cards():
    return Cards("none", counts=(2, 5, 3), sizes=(4, 2, 3))


class Menu(gymnasium.Env):
    """One agent that may choose what is on the menu: actions up to the number of steps so far."""

    action_space = SPACES.Discrete(4, start=2)

    def __init__(self, form):
        self.form = form
        box = SPACES.Box(0, 10, (1,), np.float32)
        mask = SPACES.MultiBinary(4)
        both = SPACES.Dict({"observation": box, "action_mask": mask})
        self.observation_space = both if form == "observation" else box

    def result(self):
        seen, mask = np.array([self.t], np.float32), (np.arange(4) <= self.t).astype(np.int8)
        if self.form == "observation":
            return {"observation": seen, "action_mask": mask}, {}
        return seen, {"action_mask": mask}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.result()

    def step(self, action):
        assert 2 <= action <= 2 + self.t
        self.t += 1
        seen, info = self.result()
        return seen, float(action), False, False, info


@pytest.mark.parametrize("form", ["observation", "info"])
def test_one_agent_may_have_a_mask_too(form, tmp_path):
    make = lambda: gymnasium.wrappers.TimeLimit(Menu(form), 4)  # noqa: E731
    run = lr.train(make, "rrd-unbiased", out=tmp_path / "run", **TEAMS)
    assert (run.evaluate(4)["agent"] >= 8).all()  # and the environment has raised nothing


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            SPACES.Dict({"observation": SPACES.Box(0, 1, (2,))}),
            "is a Dict of observation; .* beside an 'action_mask'",
        ),
        (
            SPACES.Dict({"observation": SPACES.Box(0, 1, (2,)), "action_mask": SPACES.MultiBinary(5)}),
            r"player_0 in cards has an action mask of shape \(5,\) for 6 actions",
        ),
        (
            SPACES.Dict({"observation": SPACES.Box(0, 1, (2, 2)), "action_mask": SPACES.MultiBinary(6)}),
            r"is a Box of shape \(2, 2\); only a Box with one axis",
        ),
    ],
)
def test_a_dict_that_is_something_else_is_refused(space, message):
    class Odd(Cards):
        def observation_space(self, agent):
            return space

    with pytest.raises(lr.LareError, match=message):
        world_of("cards", lambda mode: Odd(), {"all": ()}, STEPS)


def test_agents_that_count_their_actions_differently_are_refused():
    class Shifted(Cards):
        def action_space(self, agent):
            return SPACES.Discrete(3, start=int(agent[-1]))

    with pytest.raises(
        lr.LareError, match=r"player_0 and player_1 of the team all in cards count .* from 0 and 1"
    ):
        world_of("cards", lambda mode: Shifted("none"), {"all": ()}, STEPS)


def test_random_behaviour_for_a_designer_keeps_to_the_mask():
    random = np.random.default_rng(0)
    action = random.integers(5, size=(40, 3))
    available = random.random((40, 3, 5)) < 0.5
    available[~available.any(axis=-1)] = True
    chosen = allowed(action, available)
    for given, found, mask in zip(action.ravel(), chosen.ravel(), available.reshape(-1, 5), strict=True):
        later = [(given + k) % 5 for k in range(5)]
        assert found == next(each for each in later if mask[each])
    assert allowed(action, None) is action


def test_probabilities_entropy_and_losses_are_those_of_the_available_actions():
    """Against a softmax over the available logits alone, in float64."""
    random = np.random.default_rng(1)
    agent = PPO(hidden=(8,), critic_sees_time=False)
    spec = AgentSpec(4, Discrete(5))
    state = agent.init(spec, jax.random.key(0))
    nets = agent.networks(spec, state.parameters * 3)
    rows, mask = 50, random.random((50, 5)) < 0.5
    mask[~mask.any(axis=1)] = [True, False, False, True, False]
    seen = random.normal(size=(rows, 4)).astype(np.float32)
    logits = np.asarray(nets.actor(jnp.asarray(seen)), np.float64)
    action, expected, entropy = [], [], []
    for row in range(rows):
        allowed_here = np.flatnonzero(mask[row])
        weights = np.exp(logits[row, allowed_here] - logits[row, allowed_here].max())
        p = weights / weights.sum()
        pick = random.integers(len(allowed_here))
        action.append(allowed_here[pick])
        expected.append(np.log(p[pick]))
        entropy.append(-(p * np.log(p)).sum())
    found = np.asarray(
        policy_of(spec.actions, nets.actor(jnp.asarray(seen)), jnp.asarray(mask)).log_probabilities
    )
    np.testing.assert_allclose(found[np.arange(rows), action], expected, rtol=1e-4, atol=1e-5)
    assert (np.exp(found)[~mask] == 0).all()
    advantage = random.normal(size=rows)
    old = np.array(expected) - 0.1 * random.normal(size=rows)
    zeros = jnp.zeros(rows)
    batch = Rows(
        jnp.asarray(seen), zeros, jnp.asarray(action, jnp.int32), jnp.asarray(old, jnp.float32), zeros,
        jnp.asarray(advantage, jnp.float32), zeros, jnp.ones(rows, bool), jnp.asarray(mask),
    )  # fmt: skip
    policy, _, measured = agent.losses(spec, nets, batch, jnp.float32(0.2))
    ratio = np.exp(expected - old)
    gain = np.minimum(ratio * advantage, np.clip(ratio, 0.8, 1.2) * advantage)
    assert float(policy) == pytest.approx(-gain.mean(), rel=1e-4, abs=1e-5)
    assert float(measured) == pytest.approx(np.mean(entropy), rel=1e-4)
    gradient = jax.grad(lambda nets: agent.losses(spec, nets, batch, jnp.float32(0.2))[2])(nets)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    actor = Actor(nets.actor, None)
    drawn = agent.act(spec, actor, jnp.asarray(seen), jax.random.key(3), jnp.asarray(mask))[0]
    assert mask[np.arange(rows), np.asarray(drawn)].all()
    best = agent.best(spec, actor, jnp.asarray(seen), jnp.asarray(mask))
    np.testing.assert_array_equal(best, np.where(mask, logits, -np.inf).argmax(axis=1))


@pytest.mark.parametrize("form", FORMS)
def test_a_check_plays_masked_environments_without_a_breach(form):
    world = world_of("cards", lambda mode: Cards(form), {"all": ()}, STEPS)
    assert try_out(world).found == ()
