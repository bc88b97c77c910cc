"""The dialogue, with a real server on loopback and the real locked process; every answer is written here."""

import dataclasses
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from model_server import Answer, encoder_reply, reply, serve, status

from latent_reward.design import judge
from latent_reward.design.llm.client import Server
from latent_reward.design.make import design_encoder
from latent_reward.design.play import Recording
from latent_reward.design.prompt import PROTOCOLS, unverified
from latent_reward.encoder.encoder import load
from latent_reward.errors import LareError
from latent_reward.sealing.lock.sandbox import Limits
from latent_reward.sealing.verify import check_all
from latent_reward.task.load import load_description

TASK = load_description("Reacher-v5")
LIMITS = Limits(wall_s=60, cpu_s=20)
TWO, ONE = (dataclasses.replace(PROTOCOLS["improved"], candidates=n) for n in (2, 1))

NEAR = """import numpy as np
def evaluation_func(observation, action):
    offset = np.clip(observation[:, 8:10], -1e3, 1e3)
    # Distance to the target, the smaller the better.
    closeness = -np.sqrt(np.sum(offset ** 2, axis=1, keepdims=True) + 1e-6)
    return [closeness]
"""
CALM = """import numpy as np
WEIGHT = -0.5
def squares(x):
    return np.sum(np.clip(x, -1e3, 1e3) ** 2, axis=1, keepdims=True)
def evaluation_func(observation, action):
    effort = WEIGHT * squares(action)
    closeness = -np.sqrt(squares(observation[:, 8:10]) + 1e-6)
    return [effort, closeness]
"""
SPIN = """import numpy as np
WEIGHT = 2.0
def squares(x):
    return np.clip(x, -9, 9)
def evaluation_func(observation, action):
    # Joint speed.
    spin = WEIGHT * squares(observation[:, 6:7])
    return {'spin': spin, 'closeness': np.tanh(spin) ** 2}
"""
INFINITE = NEAR.replace("np.sqrt(", "1.0 / (").replace(" + 1e-6", "")
FLAT = NEAR.replace("keepdims=True", "keepdims=False").replace("[closeness]", "[np.ones((3, 3)), closeness]")
BROKEN = "def evaluation_func(observation, action):\n    return [observation[:, 0:1]\n"
HOSTILE = "import os\ndef evaluation_func(observation, action):\n    os.system('touch {}')\n    return [observation]\n"
# Within the language, and hours of work: ten million numbers, sorted a thousand times.
SLOW = """    wide = np.repeat(observation, 1000, axis=1)
    for _ in range(1000):
        wide = np.sort(np.sin(wide + 1), axis=1)
    offset = offset + wide[:, 0:1]
"""
ENDLESS = NEAR.replace("    # Dist", SLOW + "    # Dist")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "LARE_PRICES", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True, scope="module")
def each_source_is_compiled_once():
    """In the real locked process; its report is kept for the tests that use the source again."""
    reports = {}

    def check(sources, task, *, limits=None, workers=2):
        fresh = [source for source in sources if (source, limits) not in reports]
        found = check_all(fresh, task, limits=limits, workers=workers)
        reports.update({(source, limits): report for source, report in zip(fresh, found, strict=True)})
        return [reports[source, limits] for source in sources]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "check_all", check)
        yield


def design(out, server, **settings):
    settings = {"protocol": TWO, "recording": Recording(episodes=24), "limits": LIMITS} | settings
    url = server if isinstance(server, str) else server.url
    return design_encoder(TASK, model=Server("m", url), out=out, **settings)


def texts(body):
    return [(message["role"], message["content"]) for message in body["messages"]]


def by_question(candidates, *later):
    """Candidates as asked (in any order of arrival), then the answers to what follows."""
    left, rest = list(candidates), list(later)

    def behaviour(body):
        return left.pop(0) if len(body["messages"]) == 1 else rest.pop(0)

    return behaviour


def test_candidates_are_verified_merged_and_sealed(tmp_path):
    with serve(
        by_question([encoder_reply(NEAR), encoder_reply(BROKEN), encoder_reply(CALM)], encoder_reply(CALM))
    ) as server:
        encoder = design(tmp_path, server, protocol=dataclasses.replace(TWO, candidates=3))
    assert encoder.latent_names == ("effort", "closeness")
    assert len(server.requests) == 4
    assert [body["temperature"] for body in server.requests] == [1.0, 1.0, 1.0, 0.3]
    merge = texts(server.requests[3])
    # The failing candidate is left out; the others are messages of their own, and turns alternate.
    assert [role for role, _ in merge] == ["user", "assistant", "user", "assistant", "user"]
    assert {json.loads(text)["Functions"] for role, text in merge if role == "assistant"} == {NEAR, CALM}

    rows = np.random.default_rng(0).normal(size=(5, 10)).astype(np.float32)
    actions = np.random.default_rng(1).normal(size=(5, 2)).astype(np.float32)
    expected = np.column_stack(
        [-0.5 * np.sum(actions**2, axis=1), -np.sqrt(np.sum(rows[:, 8:10] ** 2, axis=1) + 1e-6)]
    )
    np.testing.assert_allclose(load(tmp_path).encode(rows, actions), expected, rtol=1e-4)

    assert load(tmp_path) == encoder
    card = encoder.card
    assert (card.model, card.draw, card.goal, card.task) == ("m", 0, "plain", "Reacher-v5")
    assert card.protocol["name"] == "improved"
    assert card.protocol["chosen"] == "merge"
    assert card.usage == {"prompt_tokens": 400, "completion_tokens": 200, "calls": 4, "dollars": None}
    assert card.score["r2"] > 0.5
    for name in ("1", "2", "3", "merge"):
        report = json.loads((tmp_path / "candidates" / name / "report.json").read_text())
        source = (tmp_path / "candidates" / name / "source.py").read_text()
        assert json.loads((tmp_path / "candidates" / name / "reply.json").read_text())["Functions"] == source
        assert report["passed"] == (source != BROKEN)
    dialogue = json.loads((tmp_path / "dialogue.json").read_text())
    assert len(dialogue) == 4
    assert [(each["role"], each["content"]) for each in dialogue[3]["messages"]] == merge
    assert json.loads((tmp_path / "reply.json").read_text())["Functions"] == CALM


def test_the_papers_sequence_of_requests(tmp_path):
    """Section 1.3-1.4: n at 1.0, all in one list, summarise at 0.3, each repair sees the newest failure only."""
    answers = [encoder_reply(NEAR), encoder_reply(BROKEN)]
    later = [encoder_reply(INFINITE), encoder_reply(FLAT), encoder_reply(CALM)]
    with serve(by_question(answers, *later)) as server:
        paper = dataclasses.replace(PROTOCOLS["paper"], candidates=2)
        design(tmp_path, server, protocol=paper, goal="paper")
    assert [body["temperature"] for body in server.requests] == [1.0, 1.0, 0.3, 0.3, 0.3]
    first, second, merge, repair_1, repair_2 = map(texts, server.requests)
    assert first == second
    assert len(first) == 1
    assert merge[0] == first[0]
    assert [role for role, _ in merge] == ["user", "assistant", "user"]
    listed = eval(merge[1][1], {})  # the list as Python writes it
    assert {json.loads(text)["Functions"] for text in listed} == {NEAR, BROKEN}  # unverified
    assert repair_1[:3] == repair_2[:3] == merge
    assert [role for role, _ in repair_1[3:]] == [role for role, _ in repair_2[3:]] == ["assistant", "user"]
    assert json.loads(repair_1[3][1])["Functions"] == INFINITE
    assert json.loads(repair_2[3][1])["Functions"] == FLAT
    assert repair_1[4][1].count("\n") == 1  # one error


def test_one_candidate_repairs_itself_and_hears_of_every_failure(tmp_path):
    script = [encoder_reply(INFINITE), encoder_reply(FLAT), encoder_reply(NEAR)]
    with serve(*script) as server:
        encoder = design(tmp_path, server, protocol=ONE)
    assert encoder.latent_names == ("closeness",)
    assert encoder.card.protocol["chosen"] == "repair-2"
    assert [body["temperature"] for body in server.requests] == [1.0, 0.3, 0.3]
    last = texts(server.requests[2])
    assert [role for role, _ in last] == ["user", "assistant", "user", "assistant", "user"]
    # The values that broke it: the distance is zero at the row of zeros.
    assert "closeness is -inf" in last[2][1]
    assert "observation [0. 0. 0. 0. 0. 0. 0. 0." in last[2][1]
    assert "(3, 3)" in last[4][1]
    assert "latent_0" in last[4][1]


def test_an_answer_that_is_no_json_is_sent_back(tmp_path):
    with serve(reply("I would rather not."), encoder_reply(NEAR)) as server:
        design(tmp_path, server, protocol=ONE)
    assert "JSON" in texts(server.requests[1])[2][1]
    assert json.loads((tmp_path / "candidates/1/reply.json").read_text()) == {"text": "I would rather not."}


def test_a_slip_in_the_json_costs_no_call(tmp_path):
    """The source is whole, so it is read, checked and sealed like any other."""
    answer = encoder_reply(NEAR).body["choices"][0]["message"]["content"]
    with serve(reply(f"Here you are:\n{answer[:-1]},\n}}")) as server:
        encoder = design(tmp_path, server, protocol=ONE)
    assert len(server.requests) == 1
    assert (tmp_path / "source.py").read_text() == NEAR
    assert encoder.latent_names == ("closeness",)


def test_a_slip_that_cannot_be_read_goes_back_with_its_place(tmp_path):
    with serve(
        reply('{"Understand": "u",\n"Functions": "import numpy as np\\ndef'), encoder_reply(NEAR)
    ) as server:
        design(tmp_path, server, protocol=ONE)
    assert "its JSON breaks at line 2, column 14 (Unterminated string" in texts(server.requests[1])[2][1]


@pytest.mark.parametrize(
    "later", [reply("", refusal="no"), reply('{"Functions": "def', finish_reason="length")]
)
def test_a_merge_that_is_never_answered_falls_back_to_the_best_candidate(tmp_path, later):
    left = [encoder_reply(NEAR), encoder_reply(CALM)]
    with serve(lambda body: left.pop(0) if left else later) as server:
        encoder = design(tmp_path, server)
    assert encoder.card.protocol["chosen"] in ("1", "2")


def test_code_that_never_compiles_ends_with_every_answer_on_disk(tmp_path):
    with serve(encoder_reply(BROKEN)) as server, pytest.raises(LareError) as caught:
        design(tmp_path, server)
    message = str(caught.value)
    assert "\n" not in message
    assert str(tmp_path / "candidates") in message
    assert len(server.requests) == 2 + 5
    names = sorted(path.name for path in (tmp_path / "candidates").iterdir())
    assert names == ["1", "2", *(f"repair-{number}" for number in range(1, 6))]
    for name in names:
        report = json.loads((tmp_path / "candidates" / name / "report.json").read_text())
        assert "not valid Python" in report["checks"][0]["detail"]
    assert not (tmp_path / "card.json").exists()


def test_the_answer_to_the_last_repair_is_checked(tmp_path):
    protocol = dataclasses.replace(ONE, repairs=2)
    with serve(encoder_reply(BROKEN), encoder_reply(BROKEN), encoder_reply(NEAR)) as server:
        assert design(tmp_path, server, protocol=protocol).card.protocol["chosen"] == "repair-2"


def test_a_merge_that_stays_broken_falls_back_to_the_best_candidate(tmp_path):
    protocol = dataclasses.replace(TWO, repairs=1)
    script = by_question([encoder_reply(NEAR), encoder_reply(CALM)], *[encoder_reply(BROKEN)] * 2)
    with serve(script) as server:
        encoder = design(tmp_path, server, protocol=protocol)
    assert encoder.latent_names == ("effort", "closeness")  # it explains more of the return
    assert encoder.card.protocol["chosen"] in ("1", "2")


def test_without_self_verification_an_answer_is_taken_or_counted_as_a_failure(tmp_path):
    protocol = unverified(TWO)
    candidates = [encoder_reply(BROKEN), encoder_reply(NEAR)]
    with serve(by_question(candidates, encoder_reply(CALM))) as server:
        encoder = design(tmp_path / "good", server, protocol=protocol)
    assert sum("[:, 0:1]\\n" in content for _, content in texts(server.requests[2])) == 1  # merged unseen
    counts = {"checked": 1, "failed": 0}
    assert counts.items() <= encoder.card.protocol.items()
    assert json.loads((tmp_path / "good/counts.json").read_text()) == counts
    with serve(by_question(candidates, encoder_reply(BROKEN))) as server:
        with pytest.raises(LareError, match=r"^model: no answer of m passed its checks after 0 repairs"):
            design(tmp_path / "bad", server, protocol=protocol)
        assert len(server.requests) == 3
    assert json.loads((tmp_path / "bad/counts.json").read_text()) == {"checked": 1, "failed": 1}
    with pytest.raises(LareError, match=r"^select: best chooses among checked candidates; choose merge"):
        design(tmp_path / "ugly", server, protocol=protocol, select="best")


def test_the_best_is_the_one_that_explains_most_and_nothing_is_merged(tmp_path):
    with serve(by_question([encoder_reply(NEAR), encoder_reply(CALM)])) as server:
        encoder = design(tmp_path, server, select="best")
    assert len(server.requests) == 2
    assert encoder.latent_names == ("effort", "closeness")


def test_the_union_has_every_latent_once(tmp_path):
    with serve(by_question([encoder_reply(source) for source in (NEAR, CALM, SPIN)])) as server:
        encoder = design(tmp_path, server, select="union", protocol=dataclasses.replace(TWO, candidates=3))
    assert len(server.requests) == 3
    assert sorted(encoder.latent_names) == ["closeness", "closeness_2", "effort", "spin"]
    rows = np.random.default_rng(0).normal(size=(6, 10)).astype(np.float32)
    actions = np.random.default_rng(1).normal(size=(6, 2)).astype(np.float32)
    latents = dict(zip(encoder.latent_names, np.asarray(encoder.encode(rows, actions)).T, strict=True))
    spin = 2 * rows[:, 6]
    np.testing.assert_allclose(latents["spin"], spin, rtol=1e-5)
    np.testing.assert_allclose(latents["effort"], -0.5 * np.sum(actions**2, axis=1), rtol=1e-5)
    distances = {"closeness": -np.sqrt(np.sum(rows[:, 8:10] ** 2, axis=1) + 1e-6)}
    both = {round(float(latents[name][0]), 4) for name in ("closeness", "closeness_2")}
    assert both == {round(float(distances["closeness"][0]), 4), round(float(np.tanh(spin[0]) ** 2), 4)}
    assert dict(zip(encoder.latent_names, encoder.card.explanations, strict=True))["spin"] == "Joint speed."


def test_a_single_reward_has_one_latent(tmp_path):
    script = by_question([encoder_reply(CALM)], encoder_reply(NEAR))
    with serve(script) as server:
        encoder = design(tmp_path, server, protocol=ONE, reward=True)
    assert "[reward]" in texts(server.requests[0])[0][1]
    assert "exactly one" in texts(server.requests[1])[2][1]
    assert encoder.latent_names == ("closeness",)
    with pytest.raises(LareError, match="merge or best"):
        design(tmp_path / "b", server, reward=True, select="union")


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel locks exist on Linux only")
def test_code_that_never_ends_is_stopped_and_hostile_code_is_never_run(tmp_path):
    mark = tmp_path / "mark"
    protocol = dataclasses.replace(TWO, repairs=0)
    script = by_question([encoder_reply(ENDLESS), encoder_reply(HOSTILE.format(mark))])
    with serve(script) as server, pytest.raises(LareError):
        design(tmp_path / "out", server, protocol=protocol, limits=Limits(wall_s=12, cpu_s=8))
    assert not mark.exists()
    reports = [json.loads(path.read_text()) for path in (tmp_path / "out/candidates").glob("*/report.json")]
    said = sorted(check["detail"] for report in reports for check in report["checks"] if not check["passed"])
    assert any("import os" in each for each in said)
    # by the clock, by its own processor time or by the sum of its calls, whichever comes first
    assert any(
        re.search(r"stopped|seconds|time|calls|iterations", each) for each in said if "import os" not in each
    ), said


def test_a_replay_needs_no_server_and_gives_the_same_encoder(tmp_path):
    record = tmp_path / "record"
    with serve(by_question([encoder_reply(NEAR), encoder_reply(CALM)], encoder_reply(CALM))) as server:
        first = design(tmp_path / "a", server, record=record)
        url = server.url
    again = design(tmp_path / "b", url, record=record, replay=True)
    assert again == first
    assert (tmp_path / "a/program.stablehlo").read_bytes() == (tmp_path / "b/program.stablehlo").read_bytes()
    with pytest.raises(LareError, match="draw 1"):
        design(tmp_path / "c", url, record=record, replay=True, draw=1)
    with pytest.raises(LareError, match="--overwrite"):
        design(tmp_path / "b", url, record=record, replay=True)
    design(tmp_path / "b", url, record=record, replay=True, overwrite=True)


def test_another_draw_asks_again(tmp_path):
    with serve(encoder_reply(NEAR)) as server:
        for draw in (0, 1):
            design(tmp_path / str(draw), server, protocol=ONE, draw=draw, record=tmp_path / "record")
    assert len(server.requests) == 2


def test_what_was_answered_before_a_stop_is_not_asked_again(tmp_path):
    """The budget ends before the merge; with a larger one only the merge is asked."""
    candidates = by_question([encoder_reply(NEAR, usage=(9000, 600)), encoder_reply(CALM, usage=(9000, 600))])
    with serve(candidates) as server, pytest.raises(LareError, match=r"tokens: .* answers are kept in"):
        design(tmp_path, server, budget_tokens=21_000)
    assert len(server.requests) == 2
    assert len(list((tmp_path / "record").glob("*.json"))) == 2
    assert len(json.loads((tmp_path / "dialogue.json").read_text())) == 2
    with serve(encoder_reply(CALM)) as server:
        encoder = design(tmp_path, server)
    assert len(server.requests) == 1
    assert encoder.card.usage["calls"] == 3
    ledger = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
    assert [entry["cached"] for entry in ledger] == [False, False, True, True, False]


def test_a_refused_candidate_does_not_take_the_others_with_it(tmp_path):
    def behaviour(body):
        return left.pop(0) if left else encoder_reply(CALM)

    left: list[Answer] = [encoder_reply(NEAR), reply("", refusal="no"), reply("", refusal="no")]
    with serve(behaviour) as server:
        assert design(tmp_path, server).latent_names in (("closeness",), ("effort", "closeness"))
    with serve(status(401, "bad key")) as server, pytest.raises(LareError, match="key"):
        design(tmp_path / "b", server)


def test_an_anonymous_design_hides_the_names_and_fits_the_task(tmp_path):
    """The model is shown shuffled columns; what it writes for them reads the task's own."""
    with serve(encoder_reply(NEAR)) as server:
        encoder = design(tmp_path, server, protocol=ONE, anonymous=True)
    shown = texts(server.requests[0])[0][1].partition("ROLE")[0]
    for each in TASK.observation:
        assert f" {each.name} (" not in shown
    orders = encoder.card.orders
    assert orders is not None
    rows = np.random.default_rng(0).normal(size=(5, 10)).astype(np.float32)
    columns = [orders.observation[8], orders.observation[9]]
    expected = -np.sqrt(np.sum(rows[:, columns] ** 2, axis=1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(encoder.encode(rows, rows[:, :2]), expected, rtol=1e-4)
    assert set(encoder.card.score["latents"][0]["reads"]) == {
        f"observation: {field.name}" for field in TASK.observation if field.index in columns
    }


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"select": "worst"}, "select"),
        ({"goal": "vague"}, "goal"),
        ({"draw": -1}, "draw"),
        ({"protocol": "mine"}, "protocol"),
    ],
)
def test_mistakes_are_named_before_anything_is_asked(tmp_path, settings, named):
    with serve(encoder_reply(NEAR)) as server, pytest.raises(LareError, match=f"^{named}: "):
        design(tmp_path / "out", server, **settings)
    assert not server.requests
    assert not Path(tmp_path / "out").exists()
