"""Credit as an object: what it accepts, what it gives, and that it is saved and read without trusting the files."""

import json
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import recorded_episodes
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

import latent_reward as lr
from latent_reward.credit.methods import Recipe, find_method
from latent_reward.library.store import STATE

pytestmark = pytest.mark.usefixtures("compile_fast")

BOX = gymnasium.spaces.Box(-1.0, 1.0, (2,))
TWO = gymnasium.spaces.Discrete(2)


def make(method: str = "lare", **settings):
    given = {"observation_space": 3, "action_space": BOX, "horizon": 30, "method": method}
    if method.startswith("lare"):
        given["encoder"] = recorded_episodes.encoder()
    return lr.Credit(**given | settings)


def rows(count, agents=0, discrete=False, seed=1):
    random = np.random.default_rng(seed)
    team = (agents,) if agents else ()
    action = random.integers(2, size=(count, *team)) if discrete else random.normal(size=(count, *team, 2))
    return random.normal(size=(count, *team, 3)), action, random.normal(size=(count, *team, 3))


@pytest.fixture(scope="module")
def learned():
    credit = make()
    for each in recorded_episodes.episodes(40):
        credit.add(each)
    credit.fit(20)
    return credit


def test_it_finds_the_reward_in_the_units_of_the_environment(learned):
    observation, action, after = rows(50)
    reward = learned.reward(observation, action, after)
    np.testing.assert_allclose(reward, recorded_episodes.pay(after, action), atol=0.05)
    assert learned.quality["explained_variance"] > 0.5
    assert learned.quality["credit_correlation"] > 0.5
    assert list(learned.worth)[:2] == ["x", "push"]
    assert learned.warning == ""
    assert (learned.episodes, learned.updates) == (40, 20)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 17])
def test_a_batch_of_any_size_gives_the_rewards_of_its_rows(learned, count):
    batch = rows(count)
    reward = learned.reward(*batch)
    assert reward.shape == (count,)
    assert reward.dtype == np.float32
    single = [learned.reward(*(each[i : i + 1] for each in batch))[0] for i in range(count)]
    np.testing.assert_allclose(reward, single, rtol=1e-5, atol=1e-6)
    reward[:] = 7.0  # it belongs to the caller


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_any_type_of_number_and_lists_will_do(learned, dtype):
    batch = [(10 * each).astype(dtype) for each in rows(4)]
    expected = learned.reward(*(each.astype(np.float32) for each in batch))
    np.testing.assert_array_equal(learned.reward(*batch), expected)
    np.testing.assert_array_equal(learned.reward(*(each.tolist() for each in batch)), expected)
    np.testing.assert_array_equal(learned(*batch, np.zeros(4, bool)), expected)
    assert learned.reward([], [], []).shape == (0,)


def test_latents_by_name(learned):
    observation, action, after = rows(3)
    found = learned.latents(observation, action, after)
    np.testing.assert_allclose(found["y"], after[:, 1], rtol=1e-6)
    np.testing.assert_allclose(found["noise"], np.sin(observation[:, 2]), rtol=1e-5)
    found["y"][:] = 0.0
    with pytest.raises(lr.LareError, match="reads no latents"):
        make("rrd").latents(observation, action, after)


@pytest.mark.parametrize("method", ["lare", "rd", "lare-no-agents"])
@pytest.mark.parametrize(("agents", "space"), [(1, BOX), (1, TWO), (3, TWO), (3, BOX)])
def test_one_agent_and_teams_discrete_and_continuous(method, agents, space):
    if method == "lare-no-agents" and agents == 1:
        pytest.skip("for teams only")
    credit = make(method, agents=agents, action_space=space)
    team, discrete = agents if agents > 1 else 0, space is TWO
    recorded = recorded_episodes.episodes(3, agents=team, discrete=discrete, vary=5)
    credit.add(*recorded)
    shown = credit.fit(2)
    assert np.isfinite(shown["decoder_loss"]) if method == "rd" else shown == {}  # solved, not fitted
    shape = (4, agents) if team else (4,)
    assert credit.reward(*rows(4, team, discrete)).shape == shape
    assert credit.reward(*rows(0, team, discrete)).shape == (0, *shape[1:])
    whole = credit.episode_rewards(recorded[0])
    each = recorded[0]
    steps = credit.reward(each.observations[:-1], each.actions, each.observations[1:])
    np.testing.assert_allclose(whole, steps, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["episodic", "uniform"])
def test_references_need_the_return_and_nothing_else(method):
    credit = make(method)
    (episode,) = recorded_episodes.episodes(1, rewards=False)
    found = credit.episode_rewards(episode)
    expected = np.zeros(20) if method == "episodic" else np.full(20, episode.ret / 20)
    expected[-1] = episode.ret if method == "episodic" else episode.ret / 20
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    with pytest.raises(lr.LareError, match="episode_rewards"):
        credit.reward(*rows(1))


def test_dense_needs_rewards():
    (episode,), (silent,) = recorded_episodes.episodes(1), recorded_episodes.episodes(1, rewards=False)
    credit = make("dense")
    np.testing.assert_allclose(credit.episode_rewards(episode), episode.rewards, rtol=1e-5)
    for use in (credit.add, credit.episode_rewards):
        with pytest.raises(lr.LareError, match="rewards are not given"):
            use(silent)


def test_absent_agents_are_ignored():
    credit = make("rd", agents=2, action_space=TWO)
    (each,) = recorded_episodes.episodes(1, agents=2, discrete=True)
    alive = np.ones((20, 2), bool)
    alive[12:, 1] = False
    broken = each.observations.copy()
    broken[14:, 1] = np.nan
    found = credit.episode_rewards(lr.Episode(broken, each.actions, each.ret, alive=alive))
    assert (found[12:, 1] == 0).all()
    assert (found[:12] != 0).all()
    with pytest.raises(lr.LareError, match="finite"):
        credit.add(lr.Episode(broken, each.actions, each.ret))


def change(episode, **fields):
    values = {name: getattr(episode, name) for name in ("observations", "actions", "ret", "rewards")}
    return lr.Episode(**values | fields)


WRONG = {
    "observations are short": lambda e: change(e, observations=e.observations[:-1]),
    "observations are wide": lambda e: change(e, observations=np.ones((21, 4))),
    "no axis": lambda e: change(e, observations=3.0),
    "ragged": lambda e: change(e, observations=[[1.0, 2.0], [3.0]]),
    "text": lambda e: change(e, observations="text"),
    "nan": lambda e: change(e, observations=e.observations * np.nan),
    "too large": lambda e: change(e, actions=e.actions + 1e300),
    "no steps": lambda e: change(e, actions=np.zeros((0, 2)), observations=np.zeros((1, 3))),
    "too long": lambda e: change(e, actions=np.zeros((31, 2)), observations=np.zeros((32, 3))),
    "no return": lambda e: change(e, ret=np.nan),
    "two returns": lambda e: change(e, ret=np.array([1.0, 2.0])),
    "rewards": lambda e: change(e, rewards=np.ones(3)),
    "none": lambda e: change(e, actions=None),
}


@pytest.mark.parametrize("name", WRONG)
def test_everything_is_checked_before_anything_is_stored(learned, name):
    good, bad = recorded_episodes.episodes(2)
    before, episodes = learned.quality, learned.episodes
    with pytest.raises(lr.LareError, match="episode 1") as caught:
        learned.add(good, WRONG[name](bad))
    assert "\n" not in str(caught.value)
    assert (learned.quality, learned.episodes) == (before, episodes)


@pytest.mark.parametrize(
    ("batch", "named"),
    [
        (((2, 4), (2, 2), (2, 3)), "observation"),
        (((2, 3), (3, 2), (2, 3)), "action"),
        (((2, 3), (2, 2), (3, 3)), "next_observation"),
        (((3,), (2,), (3,)), "observation"),
        (((), (), ()), "observation"),
    ],
)
def test_a_wrong_shape_is_named(learned, batch, named):
    with pytest.raises(lr.LareError, match=rf"^{named}: .*expected"):
        learned.reward(*map(np.zeros, batch))


def test_actions_that_do_not_exist_are_refused():
    credit = make("rrd", action_space=TWO)
    observation, _, after = rows(2)
    for action in ([0, 2], [-1, 0], [0.5, 1.0]):
        with pytest.raises(lr.LareError, match="whole numbers from 0 to 1"):
            credit.reward(observation, action, after)


def test_latents_that_are_not_finite_are_refused():
    import jax.numpy as jnp

    encoder = lr.encoder_from_function(lambda o, a, after: jnp.log(after[:, :1]), ["log"])
    credit = make(encoder=encoder)
    with pytest.raises(
        lr.LareError, match=r"episode 0: the latent log is not finite at step \d.*observation \["
    ):
        credit.add(*recorded_episodes.episodes(1))
    assert credit.episodes == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"horizon": None}, "horizon"),
        ({"observation_space": None}, "give a task"),
        ({"observation_space": TWO}, "observation_space"),
        ({"action_space": gymnasium.spaces.Discrete(2, start=1)}, "Discrete from 0"),
        ({"action_space": gymnasium.spaces.MultiBinary(2)}, "action_space"),
        ({"method": "lare", "encoder": None}, "give an encoder"),
        ({"method": "rrd", "encoder": recorded_episodes.encoder()}, "reads no latents"),
        ({"method": "lare", "encoder": "Reacher-v5"}, "10 observation fields"),
        ({"method": "rrdd"}, "did you mean rrd"),
        ({"capacity": 0}, "capacity"),
        ({"capacity": 1 << 45}, "capacity"),
        ({"agents": 0}, "agents"),
        ({"seed": -1}, "seed"),
        ({"task": "Reacher-v5"}, "leave the spaces out"),
    ],
)
def test_what_does_not_exist_or_fit_is_refused(arguments, message):
    with pytest.raises(lr.LareError, match=message):
        make(**{"method": "rrd"} | arguments)


def test_fitting_needs_episodes():
    with pytest.raises(lr.LareError, match="no episodes yet"):
        make("rrd").fit()


def test_it_keeps_the_last_steps_only():
    credit = make("rrd", capacity=300)
    credit.add(*recorded_episodes.episodes(100, vary=10))
    assert np.isfinite(credit.fit(1)["decoder_loss"])
    held = int(credit._buffer.newest_transition - credit._buffer.oldest_transition)
    assert 270 <= held < 500


@settings(max_examples=4, deadline=None)
@given(
    st.sampled_from(["rrd-unbiased", "lare"]),
    st.integers(1, 12),
    st.integers(0, 6),
    st.integers(0, 2**32 - 1),
)
def test_stopping_and_going_on_gives_the_numbers_of_never_having_stopped(
    tmp_path_factory, method, count, updates, seed
):
    folder = tmp_path_factory.mktemp("credit") / "here"
    first, second = recorded_episodes.episodes(count), recorded_episodes.episodes(3, seed=9, vary=4)
    steady = make(method, seed=seed)
    steady.add(*first)
    if updates:
        steady.fit(updates)
    stopped = lr.Credit.load(steady.save(folder))
    assert (stopped.episodes, stopped.updates) == (steady.episodes, steady.updates)
    for each in (steady, stopped):
        each.add(*second)
        each.fit(3)
    np.testing.assert_array_equal(stopped.reward(*rows(5)), steady.reward(*rows(5)))
    np.testing.assert_equal(stopped.quality, steady.quality)
    assert stopped.worth == steady.worth


def test_it_grows_and_is_read_again(tmp_path):
    credit = make("rrd", horizon=9_000)
    credit.add(*recorded_episodes.episodes(6, steps=9_000))
    stopped = lr.Credit.load(credit.save(tmp_path))
    for each in (credit, stopped):
        each.fit(1)
    np.testing.assert_array_equal(stopped.reward(*rows(5)), credit.reward(*rows(5)))


def test_a_fresh_one_is_saved_and_read(tmp_path):
    credit = make("uniform")
    again = lr.Credit.load(credit.save(tmp_path))
    assert again.where == credit.where
    assert again.method == find_method("uniform", "replay")


@pytest.fixture(scope="module")
def network():
    """Credit whose settings and arrays are those of a network: more that can be damaged."""
    credit = make("lare-rd")
    credit.add(*recorded_episodes.episodes(5))
    credit.fit(2)
    return credit


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory):
    return network.save(tmp_path_factory.mktemp("saved"))


def damaged(folder, tmp_path, card=None, header=None, arrays=None):
    """A copy of a saved credit in which some parts were replaced."""
    import shutil

    shutil.copytree(folder, tmp_path / "damaged")
    with safe_open(folder / STATE, framework="numpy") as file:
        metadata, stored = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name, change in (("config", card), ("header", header)):
        value = json.loads(metadata[name])
        if change:
            change(value)
        metadata[name] = json.dumps(value)
    if arrays:
        arrays(stored)
    save_file(stored, tmp_path / "damaged" / STATE, metadata)
    return tmp_path / "damaged"


def put(*path):
    """A change of the value at a path."""
    *above, name, value = path

    def change(tree):
        for each in above:
            tree = tree[each]
        tree[name] = value

    return change


CARDS = [
    put("format", 2),
    put("more", 1),
    put("name", 3),
    put("horizon", 0),
    put("horizon", 10**15),
    put("horizon", 10**9),
    put("observation_size", 10**9),
    put("observation_size", True),
    put("agents", 10**8),
    put("capacity", "many"),
    put("seed", -1),
    put("seed", 1.5),
    put("actions", {"size": 0}),
    put("actions", {"size": 2, "more": 1}),
    put("actions", {"low": [0.0, 0.0], "high": [1.0]}),
    put("actions", None),
    put("encoder", None),
    put("encoder", "0" * 64),
    put("method", "credit", "kind", "none"),
    put("method", "credit", "loss", "none"),
    put("method", "credit", "hidden", [10**12]),
    put("method", "credit", "hidden", [-1]),
    put("method", "credit", "hidden", []),
    put("method", "credit", "batch_steps", -5),
    put("method", "credit", "learning_rate", "fast"),
    put("method", "credit", "more", 1),
    put("method", {}),
    lambda card: card.pop("seed"),
    lambda card: card["method"]["credit"].pop("subset"),
]
HEADERS = [
    put("format", 99),
    put("rows", 10**14),
    put("rows", -1),
    put("slots", 1),
    put("episodes", "many"),
    lambda header: header.pop("updates"),
]


def array(text, change):
    def apply(arrays):
        name = next(each for each in arrays if text in each)
        arrays[name] = change(arrays[name])

    return apply


ARRAYS = [
    lambda arrays: arrays.pop(next(iter(arrays))),
    lambda arrays: arrays.clear(),
    array(".network", lambda each: each[..., :1].copy()),
    array(".network", lambda each: each.astype(np.float16)),
    array("window", lambda each: each[:, :2].copy()),
    array("newest_transition", lambda each: each + 5),
    array("oldest_transition", lambda each: each - 1),
    array(".start", lambda each: each + 10**6),
    array(".length", lambda each: each * 0 + 1000),
    array("newest_episode", lambda each: each + 10**6),
    array("oldest_episode", lambda each: each + 1),
    array("steps.features", lambda each: each.repeat(1000, axis=1)),
]


@pytest.mark.parametrize(
    "change",
    [{"card": each} for each in CARDS]
    + [{"header": each} for each in HEADERS]
    + [{"arrays": each} for each in ARRAYS],
)
def test_a_hostile_folder_gives_one_line(folder, tmp_path, change):
    with pytest.raises(lr.LareError) as caught:
        lr.Credit.load(damaged(folder, tmp_path, **change))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 800


def test_the_undamaged_copy_is_read(folder, tmp_path, network):
    again = lr.Credit.load(damaged(folder, tmp_path))
    np.testing.assert_array_equal(again.reward(*rows(2)), network.reward(*rows(2)))


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 100, b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_file_that_is_no_credit_gives_one_line(tmp_path, content):
    with pytest.raises(lr.LareError, match="holds no credit"):
        lr.Credit.load(tmp_path)
    (tmp_path / STATE).write_bytes(content)
    with pytest.raises(lr.LareError, match=r"damaged|restore"):
        lr.Credit.load(tmp_path)


@pytest.mark.parametrize("cut", [10, 1000, -1])
def test_a_file_that_was_cut_short_gives_one_line(folder, tmp_path, cut):
    (tmp_path / STATE).write_bytes((folder / STATE).read_bytes()[:cut])
    with pytest.raises(lr.LareError, match="damaged"):
        lr.Credit.load(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(learned, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(lr.LareError, match="cannot write"):
        learned.save(tmp_path / "file")


IMPORTS = """
import sys
import latent_reward as lr
credit = lr.Credit("Reacher-v5")
credit.reward([[0.0] * 10], [[0.0] * 2], [[0.0] * 10])
roots = {"mujoco", "openai", "matplotlib", "pettingzoo", "h5py", "stable_baselines3"}
print([name for name in sys.modules if name.split(".")[0] in roots or name.startswith("gymnasium.envs.mujoco")])
"""


def test_no_simulator_is_imported():
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_task_says_everything():
    team = lr.Credit("cn-6")
    assert (team.where.agents, team.where.horizon) == (6, 25)
    size = team.where.observation_size
    assert team.reward(np.zeros((2, 6, size)), np.zeros((2, 6), int), np.zeros((2, 6, size))).shape == (2, 6)
    assert lr.Credit(lr.load_task("Reacher-v5"), horizon=60).where.horizon == 60
    assert lr.Credit("competitive-pp/prey").where.agents > 0
    with pytest.raises(lr.LareError, match="agents"):
        lr.Credit("cn-6", agents=3)


def test_a_method_of_your_own_settings():
    import dataclasses

    recipe = find_method("rrd", "replay")
    small = Recipe("small", dataclasses.replace(recipe.credit, hidden=(4,)))
    credit = lr.Credit(observation_space=3, action_space=BOX, horizon=30, method=small)
    assert credit._state.network.weights[0].shape == (8, 4)


def test_a_solved_reward_knows_how_uncertain_it_is(learned):
    reward, deviation = learned.reward(*rows(20), return_std=True)
    np.testing.assert_array_equal(reward, learned.reward(*rows(20)))
    assert deviation.shape == (20,)
    assert (deviation >= 0).all()
    credit = make("rd")
    with pytest.raises(lr.LareError, match=r"^return_std: rd does not know how uncertain"):
        credit.reward(*rows(2), return_std=True)


def test_what_is_not_known_is_a_share_of_the_variance_of_the_newest_episode():
    credit, episodes = make(), recorded_episodes.episodes(40)
    shares = []
    for count, each in enumerate(episodes, 1):
        credit.add(each)
        if count in (1, 12, 40):
            steps = each.observations[:-1], each.actions, each.observations[1:]
            ended = np.arange(len(each)) == (len(each) - 1 if each.terminated else -1)
            reward, deviation = credit.reward(*steps, ended, return_std=True)
            expected = (
                (deviation**2).sum() / ((deviation**2).sum() + len(each) * reward.var()) if count > 1 else 1
            )
            shares.append(credit.quality["credit_uncertainty"])
            assert shares[-1] == pytest.approx(expected, rel=1e-3)
    assert shares[0] > shares[1] > shares[2]
    assert shares[2] < 0.1
    network = make("rd")
    network.add(episodes[0])
    assert np.isnan(network.quality["credit_uncertainty"])
