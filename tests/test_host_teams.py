"""Training of teams whose environment runs on the host: what is learned, what padding does, going on."""

from dataclasses import replace
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from latent_reward.config import CHECKPOINT
from latent_reward.training.host_teams import HostTeams
from latent_reward.training.team_learner import TeamLearner
from parallel_envs import HORIZON, countdown_task

import latent_reward as lr
from latent_reward import cli
from latent_reward.agents.ppo import PPOConfig
from latent_reward.credit.methods import find_method
from latent_reward.encoder.bundled import bundled_folder
from latent_reward.encoder.encoder import check_fits
from latent_reward.errors import LareError
from latent_reward.sealing.open import load_encoder
from latent_reward.task.draft import draft_task
from latent_reward.task.load import load_description
from latent_reward.task.open import open_world
from latent_reward.training import team_learner as core
from latent_reward.training.on_policy import OnPolicy
from latent_reward.training.plan import Fitting, TeamSchedule

SMALL = {"episodes": 8, "evaluation_episodes": 4}


@pytest.fixture(autouse=True)
def beside_the_tests(monkeypatch):
    monkeypatch.syspath_prepend(__file__.rpartition("/")[0])


@cache  # a learner of its own is compiled for on its own
def learner(method="rrd-unbiased", bootstrap=False):
    return TeamLearner(
        world=open_world(countdown_task()),
        credit=find_method(method, of_teams=True).credit,
        encoders=(None,),
        agent=PPOConfig(epochs=2, minibatch=16, bootstrap=bootstrap),
        iterations=10,
        episodes=4,
        fitting=Fitting(first_updates=3, updates=2, buffer_episodes=8),
    )


def draft():
    """The task of ``Countdown`` as drafted for a user, who has completed it."""
    text = draft_task("parallel_envs:countdown").replace("'FILL IN: after", f"{HORIZON}  # '")
    return text.replace("FILL IN", "earn")


def played(made, seeds=(0, 1)):
    """Fresh states and the first episodes of each seed."""
    keys = jax.vmap(jax.random.key)(np.asarray(seeds))
    states = core.init(made, keys)
    host = HostTeams(made)
    rollouts = host._play(states, keys, made.episodes)
    host.close()
    return states, rollouts, keys


def learnt(made, states, rollouts, keys):
    states = jax.tree.map(jnp.copy, states)  # the update takes its states away
    after, measures = core.learn_from(made, states, rollouts, keys, jnp.int32(0))
    return jax.tree.leaves(((after[0].agent, after[0].decomposer), measures))


def test_seeds_play_apart_and_each_by_its_own_key():
    made = learner()
    states, (both,), keys = played(made)
    assert both.mask.shape == (2, HORIZON, 4, 2)
    alone = HostTeams(made)._play(jax.tree.map(lambda leaf: leaf[1:], states), keys[1:], 4)[0]
    np.testing.assert_array_equal(both.action[1], alone.action[0])
    assert (both.action[0] != both.action[1]).any()
    # Log-probabilities are those of a nearly uniform first policy over three actions.
    there = np.asarray(both.mask)
    np.testing.assert_allclose(np.asarray(both.log_probability)[there], -np.log(3), atol=0.05)


def test_what_stands_where_nobody_is_changes_nothing():
    made = learner()
    states, (rollout,), keys = played(made)
    nobody = ~rollout.mask
    assert nobody.any()
    seen = jnp.concatenate([rollout.mask, jnp.zeros_like(rollout.mask[:, :1])], axis=1)
    seen = seen | jnp.concatenate([jnp.zeros_like(seen[:, :1]), rollout.mask], axis=1)
    spoilt = rollout._replace(
        observation=jnp.where(seen[..., None], rollout.observation, 1e3),
        action=jnp.where(nobody, 2, rollout.action),
        log_probability=jnp.where(nobody, -9.0, rollout.log_probability),
    )
    before, after = (learnt(made, states, (each,), keys) for each in (rollout, spoilt))
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("made", "bootstrap"), [(learner, False), (partial(learner, "dense", True), True)])
def test_a_cut_leaves_a_future_only_where_that_is_asked_for(made, bootstrap):
    made = made()
    states, (rollout,), keys = played(made)
    assert not rollout.cut.any()
    last = rollout.mask & ~jnp.concatenate([rollout.mask[:, 1:], jnp.zeros_like(rollout.mask[:, :1])], axis=1)
    ended, cut = (learnt(made, states, (rollout._replace(cut=each),), keys) for each in (rollout.cut, last))
    same = all(np.array_equal(one, other) for one, other in zip(ended, cut, strict=True))
    assert same != bootstrap


def test_a_team_learns_which_action_pays_from_a_draft_of_its_task(tmp_path):
    (tmp_path / "mine.yaml").write_text(draft(), "utf-8")
    run = lr.train(
        str(tmp_path / "mine.yaml"), "rrd-unbiased", iterations=25, episodes=16, evaluate_every=25,
        evaluation_episodes=8,
        agent=PPOConfig(learning_rate=3e-3, epochs=5, minibatch=32), out=tmp_path / "run", quiet=True,
    )  # fmt: skip
    last = run.metrics[-1]["return_mean"]
    best = 3.0 * (4 + 2)  # six steps of agents, 1 + 2 for the best action
    assert last > 0.93 * best
    assert run.evaluate(5)["agent"].shape == (1, 5)
    assert run.act(np.zeros((2, 3), np.float32)).tolist() == [2, 2]
    with pytest.raises(LareError, match="draws no picture"):
        run.film(tmp_path / "film.mp4")


def test_a_stopped_training_goes_on_to_the_same_numbers(tmp_path):
    def make():
        return OnPolicy(learner(), TeamSchedule(evaluation_episodes=3), (3, 5))

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
    unlike = {"steps_per_second"}
    for one, other in zip(whole.evaluate(), resumed.evaluate(), strict=True):
        assert {k: v for k, v in vars(one).items() if k not in unlike} == pytest.approx(
            {k: v for k, v in vars(other).items() if k not in unlike}, nan_ok=True
        )
    for each in (whole, begun, resumed):
        each.close()


@pytest.mark.parametrize(
    ("words", "edits", "message"),
    [
        ([], {"max": "env_kwargs: {broken: mixed}\nmax"}, "agent_0 and agent_1 of the team agent differ"),
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
    words = words or [tmp_path / "mine.yaml", "--method", "rd"]
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
