"""The benchmark: what is true of a world against enumeration, scores of what is known, and the command."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

from latent_reward import cli
from latent_reward.bench import exact, named, scores, study, table
from latent_reward.bench.fit import Plan, fit, settings_for
from latent_reward.bench.record import BEHAVIOURS, behaviours, record
from latent_reward.bench.world import Outcome, tabulate
from latent_reward.bench.worlds import WORLDS
from latent_reward.credit.reference import Reference
from latent_reward.credit.solved import Solved
from latent_reward.errors import LareError

OWN = '''
import jax.numpy as jnp
from latent_reward.bench.world import Outcome, tabulate
from latent_reward.credit.reference import Reference

even = Reference("uniform")

def switch():
    """1 while the switch is on."""
    return tabulate(
        "switch", "1 while on", start={0: 1.0}, actions=2, horizon=3,
        step=lambda state, action: [Outcome(1.0, action, float(action))], observe=lambda state: (state,),
        latents=lambda o, a: o, latent_names=("on",),
    )
'''


def small(agents=1, horizon=3):
    """Chance, an end that may come early, and rewards that no plan gets all of."""

    def step(state, action):
        moves = action if agents > 1 else (action,)
        place = (state + 1 + sum(moves)) % 3
        reward = [0.5 * place - moves[agent] * (agent + 1) * 0.3 for agent in range(agents)]
        yield Outcome(0.75, place, reward, place == 2 and state == 1)
        yield Outcome(0.25, state, [-0.1] * agents)

    return tabulate(
        "small", "", start={0: 0.5, 1: 0.5}, step=step, observe=lambda state: [[state, 1.0]] * agents,
        latents=lambda o, a: o, latent_names=("place", "one"), agents=agents, actions=2, horizon=horizon,
    )  # fmt: skip


def expected(world, choose, state=None, time=0):
    """The expected return by walking through every episode; ``choose`` gives π(joint action | state, time)."""
    if time == world.horizon:
        return 0.0
    if state is None:
        return sum(p * expected(world, choose, s) for s, p in enumerate(world.start) if p)
    total = 0.0
    for m in np.flatnonzero(world.source == state):
        later = 0.0 if world.over[m] else expected(world, choose, world.target[m], time + 1)
        chance = choose(state, time)[world.action[m]] * world.probability[m]
        total += chance * (world.reward[m].sum() + later)
    return total


def random_policy(world):
    weight = np.random.default_rng(0).uniform(0.5, 2.0, (world.agents, world.states, world.actions))
    return weight / weight.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("agents", [1, 2])
def test_values_and_advantages_are_those_of_every_episode(agents):
    world = small(agents)
    policy = random_policy(world)
    mixed = exact.joint(world, policy)
    stationary = [mixed[None]] * world.horizon
    assert exact.expected_return(world, stationary)[0] == pytest.approx(
        expected(world, lambda s, t: mixed[s])
    )
    gains = exact.advantages(world, policy)
    for time, state, action, agent in ((0, 0, 0, 0), (1, 1, 1, agents - 1)):

        def value(joint, time=time, state=state):
            choose = lambda s, t: np.eye(len(mixed[0]))[joint] if t == time else mixed[s]  # noqa: E731
            return expected(world, choose, state, time)

        chosen = world.choices[action]
        mean = 0.0
        for other in range(2):
            swapped = [other if each == agent else chosen[each] for each in range(agents)]
            number = next(j for j, row in enumerate(world.choices) if list(row) == swapped)
            mean += policy[agent, state, other] * value(number)
        assert gains[time, state, action, agent] == pytest.approx(value(action) - mean)


@pytest.mark.parametrize("agents", [1, 2])
def test_the_gradient_is_that_of_finite_differences(agents):
    world = small(agents)
    logits = np.log(random_policy(world))

    def value(logits):
        weight = np.exp(logits)
        mixed = exact.joint(world, weight / weight.sum(axis=-1, keepdims=True))
        return exact.expected_return(world, [mixed[None]] * world.horizon)[0]

    found = exact.true_gradient(world, np.exp(logits))
    for place in np.ndindex(logits.shape):
        step = np.zeros(logits.shape)
        step[place] = 1e-5
        slope = (value(logits + step) - value(logits - step)) / 2e-5
        assert found[place] == pytest.approx(slope, abs=1e-8)


def test_the_plan_is_the_best_of_all_policies():
    world = small(horizon=2)
    acting = np.unique(world.source)
    best = max(
        expected(world, lambda s, t, chosen=chosen: np.eye(2)[chosen[t][list(acting).index(s)]])
        for chosen in itertools.product(itertools.product(range(2), repeat=len(acting)), repeat=2)
    )
    planned = exact.plan(world, world.reward.sum(axis=1)[None])
    assert exact.expected_return(world, planned)[0] == pytest.approx(best)


def test_episodes_follow_the_world_and_are_those_of_their_seed():
    world = small(2)
    played = record(world, [3, 5], 4000)
    again = record(world, [5], 4000)
    np.testing.assert_array_equal(played.transition[1], again.transition[0])
    first = played.transition[:, :, 0].ravel()
    turn = np.tile(np.arange(4000) % len(BEHAVIOURS), 2)
    mixed = np.array([exact.joint(world, each) for each in behaviours(world)])[turn].mean(axis=0)
    chance = world.start[world.source] * mixed[world.source, world.action] * world.probability
    np.testing.assert_allclose(np.bincount(first, minlength=len(chance)) / len(first), chance, atol=0.03)
    mask = played.mask
    before, after = played.transition[:, :, :-1], played.transition[:, :, 1:]
    goes_on = mask[:, :, 1:]
    assert (world.target[before] == world.source[after])[goes_on].all()
    np.testing.assert_array_equal(goes_on, mask[:, :, :-1] & ~world.over[before])
    total = np.where(mask[..., None], world.reward[played.transition], 0.0).sum(axis=(2, 3))
    np.testing.assert_allclose(played.episodes.returns, total, rtol=1e-5, atol=1e-6)


def test_advantages_sum_to_what_the_return_is_above_its_expectation():
    world = WORLDS["bagged"]()
    played = record(world, [0], 200)
    policies = behaviours(world)
    start = [exact.expected_return(world, [exact.joint(world, p)[None]] * world.horizon)[0] for p in policies]
    above = np.asarray(played.episodes.returns[0]) - np.array(start)[np.arange(200) % len(policies)]
    np.testing.assert_allclose(played.truth.sum(axis=(2, 3))[0], above, atol=1e-4)


@pytest.mark.parametrize("agents", [1, 2])
def test_the_truth_scores_1_and_a_constant_0(agents):
    world, plan = small(agents), Plan(16, 16, 1)
    played = record(world, [0, 1], 32)
    fitted = fit(Reference("dense"), world, played, [0, 1], plan)
    case = scores.make_case(world, played, fitted, predicts=True)
    wanted = {
        "correlation": 1.0,
        "slope": 1.0,
        "bias": 0.0,
        "termination": 0.0,
        "ranking": 1.0,
        "planned": 1.0,
    }
    wanted |= {"explained": 1.0, "agents": 1.0 if agents > 1 else np.nan}
    for name, value in wanted.items():
        np.testing.assert_allclose(scores.SCORES[name](case), value, atol=1e-4, err_msg=name)
    total = np.repeat(world.reward.sum(axis=1)[None, :, None], agents, axis=2)
    whole = fitted._replace(table=total.repeat(2, axis=0))
    np.testing.assert_allclose(scores.gradient(scores.make_case(world, played, whole, True)), 1.0)
    flat = fitted._replace(held_out=0 * fitted.held_out + 0.7, table=0 * fitted.table)
    case = scores.make_case(world, played, flat, predicts=True)
    for name in ("correlation", "ranking", "gradient", "planned"):
        np.testing.assert_allclose(scores.SCORES[name](case), 0.0, atol=1e-9, err_msg=name)
    assert np.isnan(scores.slope(case)).all()


PAGE = (Path(__file__).parents[1] / "docs/bench.md").read_text("utf-8")


def test_the_examples_of_the_documents_take_part(tmp_path):
    world, method = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "my_world.py").write_text(world, "utf-8")
    (tmp_path / "my_method.py").write_text(method, "utf-8")
    corridor = named.find_world(f"{tmp_path}/my_world.py:corridor")
    assert corridor.shape == (1, 3, 13, 2)
    assert isinstance(
        settings_for(named.find_entry(f"{tmp_path}/my_method.py:mine", shipped=False), corridor), Solved
    )


def test_every_world_and_score_is_described():
    assert [name for name in (*WORLDS, *table.HEADINGS) if f"`{name}`" not in PAGE] == []
    assert set(table.HEADINGS) == {*scores.SCORES, "seconds"}


def test_every_world_has_a_best_plan_above_random_and_credit_that_varies():
    for name, make in WORLDS.items():
        world = make()
        assert world.name == name
        assert len(world.source) <= 512
        case = record(world, [0], 16)
        assert np.ptp(case.truth[case.mask]) > 0
        best, random = (
            exact.expected_return(world, exact.plan(world, reward[None]))[0]
            for reward in (world.reward.sum(axis=1), np.zeros(len(world.source)))
        )
        assert best > random


def test_the_command_compares_methods_and_goes_on_where_it_stopped(tmp_path, capsys, monkeypatch):
    own = tmp_path / "own.py"
    own.write_text(OWN, "utf-8")
    words = f"bench --methods dense llm-reward {own}:even --worlds linear {own}:switch --seeds 2 --workers 1"
    words = [*words.split(), "--episodes", "16", "--held-out", "8", "--out", str(tmp_path / "out")]
    cli.main(words)
    assert "dense" in capsys.readouterr().out
    rows = [json.loads(line) for line in (tmp_path / "out/bench.jsonl").read_text("utf-8").splitlines()]
    assert (
        len(rows) == 2 * 2 * 2 + 1 + 2
    )  # llm-reward is refused in linear, and works where there is one latent
    dense = [row for row in rows if row["method"] == "dense" and row["world"] == "switch"]
    assert [(row["seed"], row["correlation"], row["planned"]) for row in dense] == [
        (0, 1.0, 1.0),
        (1, 1.0, 1.0),
    ]
    text = (tmp_path / "out/bench.md").read_text("utf-8")
    assert "one latent" in text
    assert "| `even` |" in text
    monkeypatch.setattr(study, "work", lambda job: pytest.fail("computed again"))
    cli.main(words)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--methods", "lar"], "methods: 'lar' does not exist (did you mean"),
        (["--worlds", "linea"], "worlds: 'linea' does not exist (did you mean linear"),
        (["--worlds", "gone.py:world"], "there is no file"),
        (["--seeds", "0"], "seeds"),
        (["--seeds", "100000000"], "seeds: 100,000,000 are too many; give at most 1,000"),
        (["--held-out", "2000000"], "held_out: 2,000,000 are too many"),
        (["--episodes", "40"], "episodes: 40 is no multiple of 16"),
        (["--methods", "dense", "dense"], "has a name twice"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, capsys, change, message):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["bench", "--out", str(tmp_path / "out"), *change])
    assert stopped.value.code == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("line", [b"[" * 100_000, b"\xff", b"7", b"{}", b'{"world": ["crash"]}', b"NaN"])
def test_a_damaged_file_of_results_is_one_line(line, tmp_path, capsys):
    (tmp_path / "bench.jsonl").write_bytes(line + b"\n")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["bench", "--methods", "uniform", "--worlds", "crash", "--out", str(tmp_path)])
    assert stopped.value.code == 1
    error = capsys.readouterr().err
    assert "bench.jsonl:1" in error
    assert error.count("\n") == 1
    assert (tmp_path / "bench.jsonl").read_bytes() == line + b"\n"


def test_a_line_that_was_cut_short_is_computed_again_on_a_line_of_its_own(tmp_path, monkeypatch):
    path, plan = tmp_path / "bench.jsonl", Plan(16, 16, 1)
    row = {
        "world": "crash",
        "method": "uniform",
        "ranking": 0.0,
        "episodes": 16,
        "held_out": 16,
        "updates": 1,
    }
    row |= {"shipped": False}
    monkeypatch.setattr(study, "work", lambda job: [row | {"seed": seed} for seed in range(2)])
    whole = study.run(("uniform",), ("crash",), 2, plan, path, 1)
    path.write_bytes(path.read_bytes()[:-20])
    assert study.run(("uniform",), ("crash",), 2, plan, path, 1) == whole
    assert all(json.loads(line)["seed"] in (0, 1) for line in path.read_text("utf-8").splitlines())
    monkeypatch.setattr(study, "work", lambda job: pytest.fail("computed again"))
    assert study.run(("uniform",), ("crash",), 2, plan, path, 1) == whole


@pytest.mark.parametrize("body", ["raise SystemExit('no')", "1 / 0"])
def test_a_file_of_the_users_own_that_fails_is_one_line(body, tmp_path):
    (tmp_path / "own.py").write_text(f"def world():\n    {body}\n", "utf-8")
    with pytest.raises(LareError, match=r"^worlds: .*own.py:world fails with (SystemExit|ZeroDivisionError)"):
        named.find_world(f"{tmp_path}/own.py:world")


def test_a_world_that_makes_no_sense_is_refused(tmp_path):
    with pytest.raises(LareError, match=r"probabilities of step\(0, \(0,\)\).*sum to 1"):
        tabulate(
            "odd", "", start={0: 1.0}, step=lambda s, a: [Outcome(0.5, 0, 1.0)], observe=lambda s: (s,),
            latents=lambda o, a: o, latent_names=("x",),
        )  # fmt: skip
    own = tmp_path / "own.py"
    own.write_text("world = 3\n", "utf-8")
    with pytest.raises(LareError, match="must be a World"):
        named.find_world(f"{own}:world")


def test_intervals_and_blanks():
    rows = [
        {"world": "a", "method": "m", "seed": seed, **dict.fromkeys(scores.SCORES), "seconds": 0.1}
        | {"correlation": value}
        for seed, value in enumerate((0.0, 1.0, 0.5, 0.5))
    ] + [{"world": "b", "method": "m", "seed": None, "reason": "needs more"}]
    found = table.make_table(rows)
    mean, half = table.interval(found.values["correlation"])
    assert mean[0, 0] == 0.5
    assert 0.2 < half[0, 0] < 0.5
    text = table.markdown(found, "lare bench")
    assert "| `m` | 0.50 ±" in text
    assert "- `m` needs more: b" in text
