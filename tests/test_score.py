"""Scores against closed forms on latents that were made up, and against the live environment."""

import json
import math

import gymnasium
import jax
import numpy as np
import pytest
from parallel_envs import countdown_document

from latent_reward.data.spaces import Continuous
from latent_reward.design.dialogue import Candidate
from latent_reward.design.play import BEHAVIOURS, Recorded, Recording, behaviour, team_actions
from latent_reward.design.play import collect_episodes as collect
from latent_reward.design.score import (
    _reads,
    explained,
    out_of_fold,
    redundancy,
    score,
    score_latents,
    spearman,
    training_view,
    viewed,
    warnings,
)
from latent_reward.envs.worlds import find_world
from latent_reward.errors import LareError
from latent_reward.sealing.open import load_encoder
from latent_reward.sealing.verify import Report
from latent_reward.task.load import load_description, load_task

REACHER = load_description("Reacher-v5")


def made_up(count=150, steps=12, latents=4, seed=0, lengths=None):
    """Random latents, and episodes whose returns are still to be set."""
    generator = np.random.default_rng(seed)
    lengths = np.full(count, steps) if lengths is None else lengths
    owner = np.repeat(np.arange(count), lengths)
    values = generator.normal(size=(len(owner), latents)).astype(np.float32)
    empty = np.zeros((len(owner), 1), np.float32)
    episodes = Recorded(empty, empty, empty, owner, np.zeros(count), lengths)
    return generator, values, episodes


def with_returns(episodes, returns):
    return Recorded(*(getattr(episodes, name) for name in ("observation", "action", "next_observation")),
                    episodes.episode, returns, episodes.lengths)  # fmt: skip


def names(values):
    return tuple(f"z{place}" for place in range(values.shape[-1]))


def test_a_linear_return_is_explained_completely():
    _, values, episodes = made_up()
    returns = episodes.sums(values) @ [1.0, -2.0, 0.5, 3.0] + 7
    found = score_latents(values, names(values), with_returns(episodes, returns))
    assert found.r2 > 1 - 1e-6
    assert found.rank == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0])
def test_r2_is_that_of_the_theory(noise):
    """R = w·S + ε has R² = Var(w·S) / (Var(w·S) + Var ε), less a little for what cannot be learned."""
    generator, values, episodes = made_up(count=3000, steps=3, latents=3)
    signal = episodes.sums(values) @ [1.0, 1.0, 1.0]  # variance 9
    returns = signal + noise * 3 * generator.normal(size=len(signal))
    found = score_latents(values, names(values), with_returns(episodes, returns))
    assert found.r2 == pytest.approx(1 / (1 + noise**2), abs=0.03)


def test_predictions_are_out_of_fold():
    """With little penalty they are the textbook regression on the other folds."""
    generator, values, episodes = made_up(count=60)
    sums = episodes.sums(values)
    returns = sums @ [1.0, -2.0, 0.5, 3.0] + 1e-6 * generator.normal(size=60)
    order = np.random.default_rng(0).permutation(60)
    expected = np.empty(60)
    for held_out in np.array_split(order, 5):
        rest = np.setdiff1d(np.arange(60), held_out)
        table = np.column_stack([sums, np.ones(60)])
        weights = np.linalg.lstsq(table[rest], returns[rest], rcond=None)[0]
        expected[held_out] = table[held_out] @ weights
    np.testing.assert_allclose(out_of_fold(sums, returns), expected, atol=1e-4)


def test_noise_explains_nothing_and_many_useless_latents_do_not_overfit():
    generator, values, episodes = made_up(latents=40)
    found = score_latents(values, names(values), with_returns(episodes, generator.normal(size=150)))
    assert -0.35 < found.r2 < 0.15


def test_the_length_gets_its_own_credit():
    """Where the return is the length, latents of noise add nothing to what the length explains."""
    lengths = np.random.default_rng(3).integers(5, 60, 150)
    _, values, episodes = made_up(lengths=lengths)
    found = score_latents(values, names(values), with_returns(episodes, 2.0 * lengths))
    assert found.r2_length == pytest.approx(1, abs=1e-6)
    assert found.r2 > 0.99
    _, values, episodes = made_up()
    same = score_latents(values, names(values), with_returns(episodes, episodes.sums(values)[:, 0]))
    assert same.r2_length < 0.01


def test_returns_that_never_differ_and_too_few_episodes_have_no_score():
    _, values, episodes = made_up()
    assert math.isnan(score_latents(values, names(values), with_returns(episodes, np.full(150, 3.0))).r2)
    _, values, episodes = made_up(count=5)
    found = score_latents(values, names(values), with_returns(episodes, np.arange(5.0)))
    assert math.isnan(found.r2)
    assert math.isnan(found.rank)


def test_explained_is_one_minus_the_residual_share():
    assert explained(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0])) == 1
    assert explained(np.array([2.0, 2.0, 2.0]), np.array([1.0, 2.0, 3.0])) == 0
    assert explained(np.array([3.0, 2.0, 1.0]), np.array([1.0, 2.0, 3.0])) == -3


def test_spearman_is_the_correlation_of_ranks():
    first, second = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([1.0, 8.0, 27.0, 125.0, 64.0])
    assert spearman(first, second) == pytest.approx(1 - 6 * 2 / (5 * 24))  # the formula without ties
    assert spearman(first, -(first**3)) == pytest.approx(-1)
    tied = np.array([1.0, 1.0, 2.0, 3.0])
    expected = np.corrcoef([1.5, 1.5, 3, 4], [1, 2, 3, 4])[0, 1]
    assert spearman(tied, np.arange(4.0)) == pytest.approx(expected)
    assert math.isnan(spearman(np.ones(4), np.arange(4.0)))


def test_the_condition_number_and_the_pairs_that_repeat():
    generator = np.random.default_rng(0)
    one, two = generator.normal(size=(2, 20_000))
    mixed = 0.6 * one + 0.8 * two  # correlation 0.6: eigenvalues 1.6 and 0.4
    table = np.column_stack([one, mixed])
    condition, pairs = redundancy(table, ("a", "b"), np.zeros(2, bool))
    assert condition == pytest.approx(math.sqrt(1.6 / 0.4), rel=0.02)
    assert pairs == ()
    table = np.column_stack([one, two, -3 * one + 0.01 * two + 5, np.full(20_000, 2.0)])
    condition, pairs = redundancy(table, ("a", "b", "c", "d"), np.array([False, False, False, True]))
    assert condition > 100
    assert pairs == (("a", "c"),)


def test_constant_latents_are_named():
    _, values, episodes = made_up()
    values[:, 2] = 4.0
    found = score_latents(values, names(values), with_returns(episodes, episodes.sums(values)[:, 0]))
    assert found.constant == ("z2",)


@pytest.fixture(scope="module")
def reacher():
    return collect(REACHER, Recording(episodes=24))


def test_what_the_source_reads_is_found_and_what_it_does_not(reacher):
    """Draw 2 for Reacher reads everything but the target's coordinates, as its source says."""
    encoder = load_encoder(REACHER, 2)
    found = score(encoder, reacher, REACHER, "both")
    reads = {latent.name: latent.reads for latent in found.latents}
    assert set(reads["gentleness"]) == {"action: joint0", "action: joint1"}
    assert set(found.unused) == {"observation: target_x", "observation: target_y"}
    assert "observation[:, 4" not in encoder.source
    assert found.r2 > 0.9
    assert found.episodes == 24
    assert all(0 < latent.noise < 0.2 for latent in found.latents)


@pytest.mark.parametrize(
    ("name", "count", "decisive", "beside"),
    [("HalfCheetah-v5", 24, "forward_speed", slice(1, 4)), ("Reacher-v5", 60, "torque_cost", slice(2, 6))],
)
def test_weak_encoders_are_told_from_sound_ones(name, count, decisive, beside):
    """A bundled encoder, made worse in five ways; ``beside`` are fields that the return does not depend on."""
    task = load_description(name)
    episodes = collect(task, Recording(episodes=count))
    encoder = load_encoder(task)
    whole = viewed(encoder, "both")
    place = encoder.latent_names.index(decisive)
    kept = [other for other in range(len(encoder.latent_names)) if other != place]

    def noise(*rows):
        return np.sin(1e5 * rows[2][:, :4].astype(np.float64) + 1e4 * rows[1][:, :1]).astype(np.float32)

    made = {
        "sound": whole,
        "twice": lambda *rows: whole(*rows)[..., [*range(len(kept) + 1), place]] * 2,
        "idle": lambda *rows: np.pad(whole(*rows), ((0, 0), (0, 0), (0, 1)), constant_values=3.0),
        "without": lambda *rows: whole(*rows)[..., kept],
        "beside": lambda *rows: rows[2][:, beside],
        "noise": noise,
    }
    scores, rows = {}, (episodes.observation, episodes.action, episodes.next_observation)
    for label, function in made.items():
        values = function(*rows)
        scores[label] = score_latents(values, names(values), episodes, _reads(function, episodes, task))

    def rank(label):
        report = Report((), tuple(each.name for each in scores[label].latents))
        return Candidate(label, "", "", report, {}, encoder, scores[label]).rank

    assert rank("sound") > max(rank("twice"), rank("idle"))
    assert min(rank("twice"), rank("idle")) > rank("without") > max(rank("beside"), rank("noise"))
    said = {label: " | ".join(warnings(found)) for label, found in scores.items()}
    assert said["sound"] == ""
    assert said["twice"] == f"z{place} and z{len(kept) + 1} repeat each other"
    assert said["idle"] == f"z{len(kept) + 1} never changed"
    assert "of the return, beside the" in said["without"]
    assert "jumps" not in said["without"] + said["beside"]
    assert "no more than the" in said["beside"]
    assert "no more than the" in said["noise"]
    assert said["noise"].count("jumps") == 4


def test_an_encoder_is_scored_on_what_training_reads(reacher):
    """One agent trains on φ at o and o′, a team on φ at o′; figures of one latent pool the two columns."""
    assert [training_view(load_description(name)) for name in ("Reacher-v5", "cn-6")] == ["both", "next"]
    assert training_view(load_task("cn-6")) == "next"
    encoder, rows = load_encoder(REACHER), (reacher.observation, reacher.action, reacher.next_observation)
    before = np.asarray(encoder.encode(rows[0], rows[1]))
    after = np.asarray(encoder.encode(rows[2], rows[1]))
    both = viewed(encoder, "both")(*rows)
    np.testing.assert_allclose(both, np.stack([before, after], axis=1), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(viewed(encoder, "next")(*rows)[:, 0], both[:, 1])

    found = score(encoder, reacher, REACHER, "both")
    columns = np.concatenate([reacher.sums(before), reacher.sums(after), reacher.lengths[:, None]], axis=1)
    assert found.r2 == pytest.approx(
        explained(out_of_fold(columns, reacher.returns), reacher.returns), abs=1e-3
    )
    for place, latent in enumerate(found.latents):
        values = np.concatenate([before[:, place], after[:, place]]).astype(float)
        assert latent.mean == pytest.approx(values.mean(), rel=1e-4, abs=1e-6)
        assert latent.std == pytest.approx(values.std(), rel=1e-4)
        total = reacher.sums((before + after)[:, place : place + 1])[:, 0]
        assert latent.rank == pytest.approx(spearman(total, reacher.returns), abs=1e-2)


def test_what_random_behaviour_hardly_changes_is_hardly_missed(reacher):
    """In Reacher nearly all of such returns is effort: that the distance to the target is missing goes unseen."""
    rows = (reacher.observation, reacher.action, reacher.next_observation)
    values = viewed(load_encoder(REACHER), "both")(*rows)
    assert load_encoder(REACHER).latent_names[:2] == ("nearness", "precision")
    assert score_latents(values[..., 2:], ("z2", "z3", "z4"), reacher).r2 > 0.9


def test_where_the_length_is_the_return_no_more_is_expected_and_without_a_score_it_is_said():
    lengths = np.random.default_rng(3).integers(5, 60, 150)
    _, values, episodes = made_up(lengths=lengths)
    assert warnings(score_latents(values, names(values), with_returns(episodes, 2.0 * lengths))) == ()
    (line,) = warnings(score_latents(values, names(values), with_returns(episodes, np.ones(150))))
    assert "nothing could be scored on 150 episodes" in line


def test_episodes_are_those_of_the_environment(reacher):
    """Playing the recorded actions again, with plain Gymnasium, gives the same rows and returns."""
    env = gymnasium.make("Reacher-v5")
    for number in (0, 1, 5):
        rows = np.flatnonzero(reacher.episode == number)
        generator = np.random.default_rng([0, number])
        _, policy = behaviour(number, Continuous((-1.0,) * 2, (1.0,) * 2), 10, generator)
        observation, _ = env.reset(seed=int(generator.integers(2**31)))
        total = 0.0
        for row in rows:
            np.testing.assert_array_equal(reacher.observation[row], observation.astype(np.float32))
            action = policy(observation.astype(np.float32))
            np.testing.assert_array_equal(reacher.action[row], action)
            observation, reward, terminated, truncated, _ = env.step(action)
            np.testing.assert_array_equal(reacher.next_observation[row], observation.astype(np.float32))
            total += float(reward)
        assert terminated or truncated
        assert total == pytest.approx(reacher.returns[number])
        assert len(rows) == reacher.lengths[number]
    env.close()


def test_behaviours_take_turns_repeat_themselves_and_stay_in_bounds(reacher):
    assert reacher.behaviours == BEHAVIOURS * 4
    again = collect(REACHER, Recording(episodes=3))
    np.testing.assert_array_equal(again.action, reacher.action[reacher.episode < 3])
    assert np.abs(reacher.action).max() <= 1
    other = collect(REACHER, Recording(episodes=3, seed=1))
    assert not np.array_equal(other.action, again.action)
    spread = {kind: reacher.returns[np.array(reacher.behaviours) == kind].mean() for kind in BEHAVIOURS}
    assert spread["gentle"] > spread["biased"] + 2  # they earn different returns


def test_steps_bound_what_is_collected_and_the_last_episode_is_finished():
    assert collect(REACHER, Recording(steps=120)).lengths.tolist() == [50, 50, 50]
    assert collect(REACHER, Recording(seconds=0)).lengths.tolist() == [50]


def test_episodes_of_a_team_are_those_of_its_world():
    """One episode played step by step, without mapping, gives the recorded rows and return."""
    task, world = load_description("cn-6"), find_world("cn-6")
    episodes = collect(task, Recording(episodes=12))
    chosen = np.stack([team_actions(world, 0, number) for number in range(12)], axis=1)
    for number in (0, 3):
        key = jax.random.split(jax.random.key(0), 12)[number]
        state, total = world.reset(key), 0.0
        rows = np.flatnonzero(episodes.episode == number)
        assert len(rows) == 25 * 6
        for time in range(25):
            here = rows[6 * time : 6 * (time + 1)]
            np.testing.assert_allclose(episodes.observation[here], world.observe(state)[0], atol=1e-4)
            np.testing.assert_array_equal(episodes.action[here].argmax(axis=1), chosen[time, number])
            assert (episodes.action[here].sum(axis=1) == 1).all()
            state, reward, _ = world.step(
                state, jax.numpy.asarray(chosen[time, number]), jax.random.fold_in(key, time + 1)
            )
            np.testing.assert_allclose(episodes.next_observation[here], world.observe(state)[0], atol=1e-4)
            total += float(np.sum(reward))
        assert episodes.returns[number] == pytest.approx(total, rel=1e-4)
    assert score(load_encoder(task), episodes, task, training_view(task)).r2 > 0.5
    assert collect(task, Recording(steps=300)).returns.shape == (2,)


TWO_TEAMS = {"first": ("agent_0", "agent_1"), "second": ("agent_2",)}


@pytest.fixture
def task_file(tmp_path, monkeypatch):
    """Writes the task file of ``Countdown``."""
    monkeypatch.syspath_prepend(__file__.rpartition("/")[0])

    def write(**settings):
        (tmp_path / "teams.yaml").write_text(json.dumps(countdown_document(**settings)))
        return str(tmp_path / "teams.yaml")

    return write


def test_episodes_of_a_team_in_pettingzoo_are_those_of_its_environment(task_file):
    """The environment writes the agent, the time and what was done into its observations, and pays 1 + action."""
    task = task_file(teams=TWO_TEAMS, lives=(4, 2, 3), late=(2,), start=5)
    first, second = (collect(f"{task}/{each}", Recording(episodes=12)) for each in TWO_TEAMS)
    for episodes, lives in ((first, {0: range(4), 1: range(2)}), (second, {2: range(1, 3)})):
        assert len(episodes.returns) == 12
        done = episodes.action.argmax(axis=1) + 5
        np.testing.assert_array_equal(episodes.action.sum(axis=1), 1)
        np.testing.assert_array_equal(episodes.next_observation[:, 2], done)
        np.testing.assert_array_equal(episodes.next_observation[:, 1], episodes.observation[:, 1] + 1)
        for number in range(12):
            here = episodes.episode == number
            rows = episodes.observation[here, :2].astype(int).tolist()
            assert sorted(map(tuple, rows)) == [(agent, t) for agent, life in lives.items() for t in life]
            assert episodes.returns[number] == (1 + done[here]).sum()
        assert set(episodes.lengths) == {len(set().union(*lives.values()))}
    assert len(set(first.returns)) > 5
    again = collect(f"{task}/first", Recording(episodes=3))
    np.testing.assert_array_equal(again.action, first.action[first.episode < 3])
    other = collect(f"{task}/first", Recording(episodes=3, seed=1))
    assert not np.array_equal(other.action, again.action)
    assert collect(f"{task}/first", Recording(steps=10)).lengths.tolist() == [4, 4]
    assert collect(f"{task}/first", Recording(seconds=0)).lengths.tolist() == [4]


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"broken": "reward"}, r"^reward: .* gave .*inf.* to agent_0"),
        (
            {"teams": {"first": ("agent_0",), "second": ("agent_1",)}, "late": (1,), "max_steps": 1},
            "acts in 200",
        ),
        ({"agents": 3}, r"^task: teams\[0\]\.agents: 3, .*has 2 agents"),
    ],
)
def test_a_team_in_pettingzoo_that_cannot_be_played_says_why(task_file, kwargs, said):
    task = task_file(**kwargs)
    with pytest.raises(LareError, match=said):
        collect(f"{task}/second" if "teams" in kwargs else task)


def test_a_task_that_does_not_fit_its_environment_is_refused():
    import dataclasses

    wrong = dataclasses.replace(REACHER, observation=REACHER.observation[:-1])
    with pytest.raises(LareError, match="lare check"):
        collect(wrong)
    team = load_description("cn-6")
    with pytest.raises(LareError, match=r"describes 26 observations and 4 actions.*has 26 and 5"):
        collect(dataclasses.replace(team, action=team.action[:-1]))
