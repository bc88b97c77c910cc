"""Training of teams whose environment runs on the host: what is learned, what padding does, going on."""

from dataclasses import replace
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parallel_envs import HORIZON, countdown_task

import latent_reward as lr
from latent_reward import cli
from latent_reward.agents.ppo import PPO
from latent_reward.credit.methods import find_method
from latent_reward.encoder.bundled import bundled_folder
from latent_reward.encoder.encoder import check_fits
from latent_reward.errors import LareError
from latent_reward.sealing.open import load_encoder
from latent_reward.task.draft import draft_task
from latent_reward.task.load import load_description
from latent_reward.task.open import open_world
from latent_reward.training import from_episodes as core
from latent_reward.training.config import CHECKPOINT
from latent_reward.training.learner import team_learners
from latent_reward.training.on_policy import HostPlayer, OnPolicy, episode_learner
from latent_reward.training.plan import make_plan

pytestmark = pytest.mark.usefixtures("compile_fast")

SMALL = {"episodes": 8, "evaluation_episodes": 4}


@pytest.fixture(autouse=True)
def beside_the_tests(monkeypatch):
    monkeypatch.syspath_prepend(__file__.rpartition("/")[0])


@cache  # worlds are told apart by identity
def countdown():
    return open_world(countdown_task())


def plan(bootstrap=False, **settings):
    settings = {"episodes": 4, "first_updates": 3, "updates": 2, "buffer_episodes": 8, **settings}
    return make_plan(PPO(epochs=2, minibatch=16, bootstrap=bootstrap), {"iterations": 10, **settings})


@cache  # a learner of its own is compiled for on its own
def learner(method="rrd-unbiased", bootstrap=False):
    chosen = plan(bootstrap)
    credit = find_method(method, "episodes").credit
    return episode_learner(team_learners(countdown(), credit, chosen.agent, (None,)), chosen)


def draft():
    """The task of ``Countdown`` as drafted for a user, who has completed it."""
    text = draft_task("parallel_envs:countdown").replace("'FILL IN: after", f"{HORIZON}  # '")
    return text.replace("FILL IN", "earn")


def played(made, seeds=(0, 1)):
    """Fresh states and the first episodes of each seed."""
    keys = jax.vmap(jax.random.key)(np.asarray(seeds))
    states = core.init(made, keys)
    host = HostPlayer(made, seeds, countdown())
    arrays = host.play(states, keys, made.experience.episodes)
    host.close()
    return states, arrays, keys


def learned(made, states, arrays, keys):
    states = jax.tree.map(jnp.copy, states)  # the update takes its states away
    after, measures = core.learn_from(made, states, arrays, keys, jnp.int32(0))
    return jax.tree.leaves(((after[0].agent, after[0].credit), measures))


def ends(mask):
    """The last step of each agent."""
    return mask & ~np.concatenate([mask[:, :, 1:], np.zeros_like(mask[:, :, :1])], axis=2)


def test_seeds_play_apart_and_each_by_its_own_key():
    made = learner()
    states, (both,), keys = played(made)
    assert both.mask.shape == (2, 4, HORIZON, 2)
    player = HostPlayer(made, (1,), countdown())
    alone = player.play(jax.tree.map(lambda leaf: leaf[1:], states), keys[1:], 4)[0]
    player.close()
    np.testing.assert_array_equal(both.action[1], alone.action[0])
    assert (both.action[0] != both.action[1]).any()
    # Log-probabilities are those of a nearly uniform first policy over three actions.
    np.testing.assert_allclose(both.log_probability[both.mask], -np.log(3), atol=0.05)


def test_what_stands_where_nobody_is_changes_nothing():
    made = learner()
    states, (arrays,), keys = played(made)
    nobody = ~arrays.mask
    assert nobody.any()
    seen = np.concatenate([arrays.mask, np.zeros_like(arrays.mask[:, :, :1])], axis=2)
    seen = seen | np.concatenate([np.zeros_like(seen[:, :, :1]), arrays.mask], axis=2)
    spoilt = arrays._replace(
        observation=np.where(seen[..., None], arrays.observation, np.float32(1e3)),
        action=np.where(nobody, np.int32(2), arrays.action),
        log_probability=np.where(nobody, np.float32(-9.0), arrays.log_probability),
        terminated=arrays.terminated | nobody,
    )
    before, after = (learned(made, states, (each,), keys) for each in (arrays, spoilt))
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("made", "bootstrap"), [(learner, False), (partial(learner, "dense", True), True)])
def test_a_cut_leaves_a_future_only_where_that_is_asked_for(made, bootstrap):
    made = made()
    states, (arrays,), keys = played(made)
    np.testing.assert_array_equal(arrays.terminated, ends(arrays.mask))
    cut = arrays._replace(terminated=np.zeros_like(arrays.terminated))
    ended, cut = (learned(made, states, (each,), keys) for each in (arrays, cut))
    same = all(np.array_equal(one, other, equal_nan=True) for one, other in zip(ended, cut, strict=True))
    assert same != bootstrap


def test_a_team_learns_which_action_pays_from_a_draft_of_its_task(tmp_path):
    (tmp_path / "mine.yaml").write_text(draft(), "utf-8")
    run = lr.train(
        str(tmp_path / "mine.yaml"), "rrd-unbiased", iterations=25, episodes=16, evaluate_every=25,
        evaluation_episodes=8,
        agent=PPO(learning_rate=3e-3, epochs=5, minibatch=32), out=tmp_path / "run", quiet=True,
    )  # fmt: skip
    last = run.metrics[-1]["return_mean"]
    best = 3.0 * (4 + 2)  # six steps of agents, 1 + 2 for the best action
    assert last > 0.93 * best
    assert run.evaluate(5)["agent"].shape == (1, 5)
    assert run.act(np.zeros((2, 3), np.float32)).tolist() == [2, 2]
    with pytest.raises(LareError, match="render returned no picture"):
        run.film(tmp_path / "film.mp4")


def test_a_stopped_training_goes_on_to_the_same_numbers(tmp_path):
    def make():
        return OnPolicy(learner(), plan(evaluation_episodes=3), (3, 5), countdown())

    def advance(training, iterations):
        while training.iteration < iterations:
            training.advance(10**6)

    whole, begun, resumed = make(), make(), make()
    advance(whole, 4)
    advance(begun, 2)
    begun.save(tmp_path / CHECKPOINT, "{}")
    resumed.restore(tmp_path / CHECKPOINT, "{}")
    advance(resumed, 4)
    for one, other in zip(jax.tree.leaves(whole.states), jax.tree.leaves(resumed.states), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(whole.evaluate(), resumed.evaluate(), strict=True):
        ours, theirs = (replace(each, steps_per_second=0.0).row() for each in (one, other))
        assert str(ours) == str(theirs)  # NaN is like itself here
    for each in (whole, begun, resumed):
        each.close()


@pytest.mark.parametrize(
    ("words", "edits", "message"),
    [
        ([], {"max": "env_kwargs: {lives: []}\nmax"}, "has no agents; choose an environment with"),
        ([], {"max": "env_kwargs: {lives: [1, 2, 3]}\nmax"}, "teams[0].agents: 2, but"),
        ([], {"  - name: agent": "  - name: agent\n    members: [agent_0]"}, "agent_1 of parallel_envs:"),
        ([], {"teams:": "teams: []\nrest:"}, "teams: a team task needs at least one team"),
        (["cn-15", "--encoder", bundled_folder("cn-6", 0)], {}, "of cn-6 has env_id cn-6, cn-15 has cn-15"),
    ],
)
def test_what_does_not_fit_is_one_line_before_anything_is_done(words, edits, message, tmp_path, capsys):
    text = draft()
    for old, new in edits.items():
        text = text.replace(old, new, 1)
    (tmp_path / "mine.yaml").write_text(text, "utf-8")
    words = words or [tmp_path / "mine.yaml", "--method", "rd", "--import", "parallel_envs"]
    with pytest.raises(SystemExit) as stopped:
        cli.main(["train", *map(str, words), "--out", str(tmp_path / "run")])
    assert stopped.value.code == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not (tmp_path / "run").exists()


def test_an_encoder_of_a_smaller_team_is_refused():
    made_for = load_description("cn-6")
    others = replace(made_for.observation[-1], index=made_for.observation_size)
    larger = replace(made_for, observation=(*made_for.observation, others))
    with pytest.raises(
        LareError, match=r"has observation_size 26, cn-6 has 36; it was made for another form"
    ):
        check_fits(load_encoder(made_for), larger)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"agents": 3}, r"teams\[0\]\.agents: 3, but .* has 2 agents; write 2"),
        ({"broken": "continuous"}, r"pettingzoo: .*discretise it"),
        ({"broken": "reward"}, r"reward: .*inf.* to agent_0 at step 1"),
    ],
)
def test_training_refuses_what_does_not_fit(change, message, tmp_path):
    with pytest.raises(LareError, match=message) as caught:
        lr.train(countdown_task(**change), "dense", iterations=2, out=tmp_path / "run", quiet=True, **SMALL)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_teams_whose_numbers_of_actions_differ_train_end_to_end(tmp_path):
    teams = {"three": ("agent_0", "agent_1"), "five": ("agent_2",)}
    task = countdown_task(teams=teams, lives=(4, 2, 5), actions=(3, 3, 5), start=2)
    settings = {"agent": PPO(epochs=2, minibatch=16), "iterations": 3, "evaluate_every": 2, **SMALL}
    run = lr.train(task, "rrd-unbiased", out=tmp_path / "run", seed=(0, 1), quiet=True, **settings)
    assert [team.actions.size for team in run.world.teams] == [3, 5]
    assert [(row["seed"], row["team"]) for row in run.metrics[-4:]] == [
        (seed, team) for seed in (0, 1) for team in teams
    ]
    seen = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    assert set(run.act(seen, team="three")) <= set(range(3))
    assert set(run.act(seen, team="five")) <= set(range(5))
    reward = run.proxy_reward(seen, np.zeros(50, int), seen, team="five")
    assert (reward.shape, np.isfinite(reward).all()) == ((50,), True)
    returns = lr.load_run(run.folder).evaluate(4)
    # Each step of an agent pays 1 + action, and the environment's own first action is 2.
    for team, steps, last in (("three", 6, 4), ("five", 5, 6)):
        assert returns[team].shape == (2, 4)
        assert (returns[team] >= 3 * steps).all()
        assert (returns[team] <= (1 + last) * steps).all()
    assert returns["five"].max() > 5 * 5  # only with an action that the others do not have
