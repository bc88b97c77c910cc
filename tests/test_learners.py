"""Every learner in the real loops: it finds what pays in a world of one agent, repeats itself, and can be resumed."""

from dataclasses import replace

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probe_world import HORIZON, push

import latent_reward as lr
from latent_reward.agents.registry import AGENTS, default_agent
from latent_reward.credit.methods import find_method
from latent_reward.envs.hosted import on_host
from latent_reward.envs.single import single_world
from latent_reward.training.learner import team_learners
from latent_reward.training.off_policy import OffPolicy, replay_learner
from latent_reward.training.on_policy import OnPolicy, episode_learner
from latent_reward.training.plan import make_plan
from latent_reward.training.prepare import prepare

pytestmark = pytest.mark.usefixtures("compile_fast")

REPLAY = {"steps": 10**4, "warmup": 64, "batch_size": 32, "evaluation_episodes": 10}
FRESH = {"iterations": 30, "episodes": 16, "first_updates": 5, "updates": 2, "evaluation_episodes": 10}
AGENT = {
    "td3": {"hidden": (32, 32), "learning_rate": 2e-3, "discount": 0.9},
    "ddpg": {"hidden": (32, 32), "learning_rate": 2e-3, "discount": 0.9},
    "sac": {"hidden": (32, 32), "learning_rate": 2e-3, "discount": 0.9, "temperature": 0.1},
    "ppo": {"hidden": (16,), "learning_rate": 1e-2, "minibatch": 32, "epochs": 4},
}
LENGTH = {"td3": 600, "ddpg": 600, "sac": 800, "ppo": 25 * 16 * HORIZON}


def make(kind, world, method="dense", seeds=(0,)):
    agent = replace(default_agent(kind, alone=True), **AGENT[kind])
    plan = make_plan(agent, FRESH if kind == "ppo" else REPLAY, world.horizon)
    credit = find_method(method, agent.learns_from).credit
    if kind == "ppo":
        teams = team_learners(world, credit, agent, (None,))
        return OnPolicy(episode_learner(teams, plan), plan, seeds, world)
    return OffPolicy(
        replay_learner(team_learners(world, credit, agent, (None,)), plan), plan, seeds, on_host(world)
    )


def advance(training, until):
    while training.step < until:
        training.advance(until)
    return training


@pytest.mark.slow
@pytest.mark.parametrize("kind", AGENTS)
def test_every_agent_learns_to_stand_where_it_pays(kind):
    training = make(kind, push(), seeds=(0, 1))
    advance(training, LENGTH[kind])
    found = np.array([report.return_mean for report in training.evaluate()])
    losses = training.evaluate()[0].losses
    training.close()
    # from 0 the place 1 is reached in four steps, which costs 1.5; standing still costs 8
    assert (found > -2.5).all(), found
    assert np.isfinite([value for name, value in losses.items() if name != "decoder_loss"]).all()
    assert ("temperature" in losses) is (kind == "sac")


class Slide(gymnasium.Env):
    """A point that an action moves by up to ``unit``; the reward is its distance from ``unit``."""

    observation_space = gymnasium.spaces.Box(-1e4, 1e4, (2,), np.float32)

    def __init__(self, unit=1.0):
        self.unit = unit
        self.action_space = gymnasium.spaces.Box(-2.0 * unit, 3.0 * unit, (1,), np.float32)
        self.paid_for = []

    def see(self):
        return np.array([self.place, self.count], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.count = self.unit * self.np_random.uniform(-0.5, 0.5), 0
        return self.see(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.count += 1
        self.place += 0.1 * float(action[0])
        return self.see(), -abs(self.place - self.unit), False, False, {}


def slide(unit=1.0):
    return single_world("Slide-v0", lambda mode: Slide(unit), HORIZON)


@pytest.mark.parametrize("kind", ["sac", "ddpg", "ppo"])
def test_a_training_that_was_stopped_goes_on_to_the_same_numbers(kind, tmp_path):
    stop, end = (40, 90) if kind != "ppo" else (16 * HORIZON, 3 * 16 * HORIZON)
    whole, begun, resumed = (make(kind, slide(), "linear", seeds=(0, 1)) for _ in range(3))
    advance(whole, end)
    advance(begun, stop).save(tmp_path / "checkpoint.safetensors", "{}")
    resumed.restore(tmp_path / "checkpoint.safetensors", "{}")
    advance(resumed, end)
    jax.tree.map(np.testing.assert_array_equal, whole.states, resumed.states)
    for each in (whole, begun, resumed):
        each.close()


@pytest.mark.parametrize("unit", [1.0, 1e3])
def test_credit_and_ppo_see_raw_observations_and_the_actions_that_were_taken(unit):
    """Slide asserts that every action is in its range; what is stored moved the point by a tenth of it."""
    training = make("ppo", slide(unit), "linear")
    keys = jax.random.split(jax.random.key(0), 1)
    (played,) = jax.tree.map(lambda leaf: leaf[0], training.player.play(training.states, keys, 8))
    training.close()
    observation, action = played.observation[..., 0], played.action[..., 0]
    assert observation.shape == (8, HORIZON + 1, 1)
    assert np.abs(action).max() > 1.5 * unit
    np.testing.assert_allclose(np.diff(observation, axis=1), 0.1 * action, rtol=1e-3, atol=1e-4 * unit)
    episodes = jax.tree.map(jnp.asarray, played.episodes())
    np.testing.assert_array_equal(training.learner.teams[0].numbers(episodes)[..., 0], action)


QUICK = {"evaluate_every": 40, "evaluation_episodes": 1, "quiet": True, "max_steps": HORIZON}


@pytest.mark.parametrize(
    ("agent", "method"),
    [
        ("sac", "lare"),
        (lr.DDPG(hidden=(8,)), "rd"),
        ({"kind": "ppo", "hidden": (8,)}, "lare"),
    ],
)
def test_a_learner_is_chosen_by_its_kind_as_a_mapping_or_as_itself(agent, method, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kind = agent if isinstance(agent, str) else agent["kind"] if isinstance(agent, dict) else agent.kind
    encoder = None
    if method == "lare":
        encoder = lr.encoder_from_function(
            lambda o, a, n: jnp.concatenate([n[:, :1], a], axis=1), ("place", "push")
        )
    length = (
        {"iterations": 2, "episodes": 3, "first_updates": 2} if kind == "ppo" else {"steps": 60, "warmup": 20}
    )
    length |= {"evaluate_every": 1} if kind == "ppo" else {"batch_size": 8}
    run = lr.train(Slide, method, agent=agent, encoder=encoder, **QUICK | length)
    assert run.folder.parts[-2] == f"{method}-{kind}"
    assert run.config.plan.agent.kind == kind
    assert np.isfinite(run.metrics[-1]["return_mean"])
    again = lr.load_run(run.folder, env=Slide)
    np.testing.assert_array_equal(again.evaluate(2)["agent"], run.evaluate(2)["agent"])
    action = again.act(np.zeros((5, 2)))
    assert action.shape == (5, 1)
    assert again.credit.reward(np.zeros((3, 2)), np.zeros((3, 1)), np.ones((3, 2))).shape == (3,)


def test_one_agent_alone_has_iterations_of_about_as_many_steps_in_any_environment():
    for steps, episodes in ((50, 41), (1000, 3), (5000, 1), (5, 82)):
        plan = prepare("Reacher-v5", "dense", agent="ppo", max_steps=steps).config.plan
        assert plan.experience.episodes == episodes
        assert plan.experience.buffer_episodes == max(episodes, min(15_000, 1_000_000 // steps))
        assert (plan.agent.discount, plan.agent.bootstrap) == (0.99, True)
    team = prepare("cn-6", "dense").config.plan
    assert (team.rounds, team.experience.episodes, team.agent.discount) == (1000, 82, 1.0)
    assert prepare("cn-6", "dense").folder.parts[-2] == "dense"
