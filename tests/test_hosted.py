"""One agent, wherever its environment runs: a compiled world stepped on the host, and a Gymnasium environment."""

import json

import gymnasium
import imageio_ffmpeg
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probe_world import HORIZON, SOURCE, PushSizes, line, push, rewards_of
from pydantic import TypeAdapter
from safetensors.numpy import load_file

import latent_reward as lr
from latent_reward.agents.ppo import PPO
from latent_reward.agents.td3 import TD3
from latent_reward.credit.methods import find_method
from latent_reward.data.spaces import Discrete
from latent_reward.envs.hosted import on_host
from latent_reward.envs.recorder import collect
from latent_reward.envs.single import single_world
from latent_reward.envs.worlds import WORLDS, find_world
from latent_reward.sealing.verify import seal
from latent_reward.task.task import TeamTask
from latent_reward.training.learner import team_learners
from latent_reward.training.off_policy import OffPolicy
from latent_reward.training.on_policy import OnPolicy, episode_learner
from latent_reward.training.plan import make_plan

pytestmark = pytest.mark.usefixtures("compile_fast")

WALL = 1.2
SETTINGS = {
    "agent": TD3(hidden=(8,)), "steps": 100, "warmup": 30, "evaluate_every": 40, "evaluation_episodes": 3,
    "checkpoint_every": 35, "batch_size": 16,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _compile_fast():
    """Most of the time goes into compiling programs that run for a moment; leave them unoptimised."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(autouse=True)
def _a_world_of_our_own(monkeypatch):
    monkeypatch.setitem(WORLDS, "push", lambda: push(WALL))


@pytest.fixture(scope="module")
def task():
    field = {"index": 0, "name": "value", "meaning": "a number"}
    pushers = {
        "name": "pushers",
        "agents": 1,
        "goal": {"plain": "stand at 1", "paper": "stand at 1"},
        "observation": [{**field, "count": 2}],
        "action": [field],
    }
    document = {"name": "push", "world": "push", "max_steps": HORIZON, "teams": [pushers]}
    return TypeAdapter(TeamTask).validate_json(json.dumps(document))


@pytest.fixture(scope="module")
def reference(task, tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setitem(WORLDS, "push", lambda: push(WALL))
    encoder = seal(SOURCE, PushSizes())
    out = tmp_path_factory.mktemp("runs") / "whole"
    yield lr.train(task, encoder=encoder, out=out, seed=(0, 3), quiet=True, **SETTINGS)
    patch.undo()


def numbers(run):
    return [{key: value for key, value in row.items() if key != "steps_per_second"} for row in run.metrics]


def test_a_compiled_world_steps_on_the_host_as_it_does_alone():
    world = push()
    host, actions = on_host(world), np.linspace(-1, 1, 2 * HORIZON).astype(np.float32).reshape(2, HORIZON)
    assert on_host(host) is host
    assert (host.name, host.teams, host.horizon) == (world.name, world.teams, HORIZON)

    def choose(step, observations, available):
        return [(actions[:, step, None, None], np.zeros((2, 1), np.float32))]

    envs = [host.make(None) for _ in range(2)]
    (arrays,), (again,) = (collect(host, envs, (5, 6), choose) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, arrays, again)
    assert arrays.mask.all()
    assert not arrays.terminated.any()
    assert (arrays.observation[0] != arrays.observation[1]).any()
    place = arrays.observation[:, :, 0, 0]
    assert np.abs(place[:, 0]).max() <= 0.5
    moved = np.diff(place, axis=1) - 0.3 * actions
    assert 0.02 < moved.std() < 0.1  # the world's own noise, another at each step
    np.testing.assert_allclose(arrays.reward[:, :, 0], rewards_of(place[:, 1:]), atol=1e-6)
    np.testing.assert_allclose(arrays.observation[0, :, 0, 1], np.arange(HORIZON + 1) / HORIZON, rtol=1e-6)


def test_termination_in_a_compiled_world_ends_the_episode_on_the_host():
    host = on_host(push(0.8))
    choose = lambda step, *_: [(np.ones((2, 1, 1), np.float32), np.zeros((2, 1), np.float32))]  # noqa: E731
    (arrays,) = collect(host, [host.make(None) for _ in range(2)], (5, 6), choose)
    lengths = arrays.mask[:, :, 0].sum(axis=1)
    assert (lengths < HORIZON).all()
    for copy, length in enumerate(lengths):
        assert abs(arrays.observation[copy, length, 0, 0]) > 0.8
        np.testing.assert_array_equal(arrays.terminated[copy, :, 0], np.arange(HORIZON) == length - 1)


def test_several_agents_of_several_teams_keep_their_places_on_the_host():
    world = line(teams=2)
    host = on_host(world)
    assert host.members == (
        ("team0_0", "team0_1", "team0_2"),
        ("team1_0", "team1_1", "team1_2"),
    )
    ways = np.arange(6).reshape(2, 1, 3) % 3

    def choose(step, observations, available):
        return [(each, np.zeros((1, 3), np.float32)) for each in ways]

    for first, arrays in zip((0, 3), collect(host, [host.make(None)], (0,), choose), strict=True):
        moved = np.diff(arrays.observation[0, :, :, 0], axis=0)
        np.testing.assert_allclose(moved, np.tile([0, -0.25, 0.25], (HORIZON, 1)), atol=1e-6)
        sign = 1.0 if first == 0 else -1.0
        paid = sign * np.asarray(rewards_of(arrays.observation[0, 1:, :, 0]))
        np.testing.assert_allclose(arrays.reward[0], paid, atol=1e-6)


def test_td3_trains_in_a_compiled_world(reference, tmp_path):
    run = reference
    assert isinstance(run.config.plan.agent, TD3)
    assert run.teams == ("pushers",)
    assert [(row["step"], row["seed"]) for row in run.metrics] == [
        (step, seed) for step in (40, 80, 100) for seed in (0, 3)
    ]
    assert np.isfinite([[row["critic_loss"], row["explained_variance"]] for row in run.metrics[2:]]).all()
    returns = lr.load_run(run.folder).evaluate(2)["pushers"]
    assert returns.shape == (2, 2)
    np.testing.assert_array_equal(returns, run.evaluate(2)["pushers"])
    seen = np.zeros((3, 2), np.float32)
    action = run.act(seen)
    assert action.shape == (3, 1)
    assert np.abs(action).max() <= 1
    assert run.proxy_reward(seen, action, seen).shape == (3,)
    with pytest.raises(lr.LareError, match=r"^task: push plays on the host; step its environment"):
        run.play(2)
    film = run.film(tmp_path / "film.mp4", seed=3)
    assert 2 <= imageio_ffmpeg.count_frames_and_secs(str(film))[0] <= HORIZON + 1


def test_a_training_in_a_compiled_world_that_is_killed_goes_on_to_the_same_numbers(
    reference, task, tmp_path, monkeypatch
):
    plain = OffPolicy.advance

    class Killed(BaseException):
        pass

    def killed(training, until):
        if training.step == 77:  # seven steps after a checkpoint, and within an episode
            raise Killed
        plain(training, until)

    folder = tmp_path / "stopped"
    monkeypatch.setattr(OffPolicy, "advance", killed)
    with pytest.raises(Killed):
        lr.train(task, encoder=reference.encoders[0], out=folder, seed=(0, 3), quiet=True, **SETTINGS)
    monkeypatch.setattr(OffPolicy, "advance", plain)
    resumed = lr.resume(folder, quiet=True)
    assert numbers(resumed) == numbers(reference)
    ours, theirs = (load_file(run.folder / "checkpoint.safetensors") for run in (resumed, reference))
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name)


def test_td3_refuses_discrete_actions_before_training():
    world = line(agents=1)
    credit, plan = find_method("dense", "replay").credit, make_plan(TD3(), {})
    (team,) = team_learners(world, credit, plan.agent, (None,))
    with pytest.raises(
        lr.LareError, match=r"^agent: TD3 needs continuous actions, and these are discrete; use PPO"
    ):
        team.agent.init(team.spec, jax.random.key(0))


class Corridor(gymnasium.Env):
    """Five places; 3 goes up, 4 down, 2 stays. The reward is the place; the top may end the episode."""

    observation_space = gymnasium.spaces.Box(0.0, 1.0, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(3, start=2)

    def __init__(self, limit=HORIZON, ends=False):
        self.limit, self.ends = limit, ends

    def _observe(self):
        return np.array([self.place / 4, self.count / 10], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.count = int(self.np_random.integers(0, 3)), 0
        return self._observe(), {}

    def step(self, action):
        assert self.action_space.contains(np.int64(action))
        assert isinstance(action, int)
        self.count += 1
        self.place = min(max(self.place + {2: 0, 3: 1, 4: -1}[action], 0), 4)
        terminated = self.ends and self.place == 4
        return self._observe(), float(self.place), terminated, self.count == self.limit, {}


@pytest.fixture(scope="module")
def corridor():
    return single_world("Corridor-v0", lambda mode: Corridor(), HORIZON)


def make(world, seeds=(0, 1), iterations=12):
    agent = PPO(hidden=(16,), learning_rate=1e-2, epochs=4, minibatch=32)
    settings = {
        "iterations": iterations, "episodes": 8, "first_updates": 20, "updates": 5, "buffer_episodes": 16,
        "evaluation_episodes": 6,
    }  # fmt: skip
    plan = make_plan(agent, settings)
    teams = team_learners(world, find_method("rrd-unbiased", "episodes").credit, agent, (None,))
    return OnPolicy(episode_learner(teams, plan), plan, seeds, world)


def test_ppo_trains_in_a_gymnasium_environment_with_discrete_actions(corridor, tmp_path):
    assert [(team.name, team.agents, team.actions) for team in corridor.teams] == [("agent", 1, Discrete(3))]
    assert corridor.first_action == (2,)
    whole, begun, resumed = (make(corridor) for _ in range(3))

    def advance(training, iterations):
        while training.iteration < iterations:
            training.advance(10**6)
        return training

    before = [report.return_mean for report in advance(whole, 1).evaluate()]
    advance(whole, 12)
    after = whole.evaluate()
    gains = [report.return_mean - first for report, first in zip(after, before, strict=True)]
    assert min(gains) > 3, gains  # from about 10; the best is 29
    assert [report.episodes for report in after] == [96, 96]
    assert all(np.isfinite(list(report.losses.values())).all() for report in after)
    advance(begun, 4).save(tmp_path / "checkpoint.safetensors", "{}")
    resumed.restore(tmp_path / "checkpoint.safetensors", "{}")
    advance(resumed, 12)
    jax.tree.map(np.testing.assert_array_equal, whole.states, resumed.states)
    for each in (whole, begun, resumed):
        each.close()


def test_what_ends_a_gymnasium_episode_is_recorded():
    """Always up ends at the top; always down never, and the limit of the environment is a cut."""

    def episode(world, action):
        choose = lambda step, *_: [(np.array([[action]]), np.zeros((1, 1), np.float32))]  # noqa: E731
        (arrays,) = collect(world, [world.make(None)], (0,), choose)
        return arrays

    up = episode(single_world("Corridor-v0", lambda mode: Corridor(ends=True), HORIZON), 1)
    length = int(up.mask.sum())
    assert up.observation[0, length, 0, 0] == 1.0
    assert up.terminated[0, length - 1, 0]
    assert up.total[0] == up.reward.sum()
    down = episode(single_world("Corridor-v0", lambda mode: Corridor(limit=5), HORIZON), 2)
    assert down.mask.sum() == 5
    assert not down.terminated.any()
    cut = jax.tree.map(jnp.asarray, down).episodes().cut
    assert np.argwhere(cut[0, :, 0]).item() == 4


def test_a_world_of_our_own_is_found_by_its_name():
    assert find_world("push").teams[0].actions.low == (-1.0,)
