"""Limits that hold, for one call and for many at once; prices; the ledger."""

import json
from datetime import datetime

import pytest
from model_server import HELLO, reply, serve, status

from latent_reward.design.llm.ask import Message, ModelError, Request, ask_all
from latent_reward.design.llm.budget import Budget, BudgetError, Ledger, Price, Usage, estimate, price_of
from latent_reward.design.llm.client import Server, connect
from latent_reward.errors import LareError

QUESTION = Request((Message("user", "Write an encoder as JSON."),), temperature=0.3)


def ask_with(server, budget, ledger=None, **settings):
    return connect(Server("m", server.url, **settings), budget, ledger, sleep=lambda seconds: None)


def numbered(index, **settings):
    return Request(QUESTION.messages, index=index, **settings)


def test_stops_before_the_call_that_could_cross_the_limit():
    budget = Budget(tokens=1000)
    with serve(reply(HELLO, usage=(100, 250))) as server:
        ask = ask_with(server, budget, max_tokens=300)
        ask(QUESTION)
        ask(QUESTION)
        with pytest.raises(BudgetError, match="300 of 1,000 are left"):
            ask(QUESTION)
        assert len(server.requests) == 2
    assert budget.used == Usage(200, 500, 2)


def test_money_is_counted_at_the_price_of_the_model():
    budget = Budget(dollars=0.01, price=Price(input=2.0, output=10.0))
    with serve(reply(HELLO, usage=(500, 400))) as server:
        ask = ask_with(server, budget, max_tokens=500)
        assert ask(QUESTION).cost == pytest.approx(500 * 2e-6 + 400 * 10e-6)
        with pytest.raises(BudgetError, match=r"0\.0050 of 0\.01 \$ are left"):
            ask(QUESTION)
    assert len(server.requests) == 1


def test_failed_calls_are_free_and_lost_ones_count_in_full():
    asked = estimate(QUESTION.messages, QUESTION.keys)
    for behaviour, used in (
        (status(401, "bad"), Usage(0, 0, 1)),
        (status(400, "bad"), Usage(0, 0, 6)),  # each time with something left out
        (reply("late", delay=5), Usage(3 * asked, 3 * 300, 3)),
        (reply(None, refusal="no", usage=(9, 1)), Usage(18, 2, 2)),
    ):
        budget = Budget()
        with serve(behaviour) as server, pytest.raises(ModelError):
            ask_with(server, budget, max_tokens=300, timeout_s=0.1)(QUESTION)
        assert budget.used == used


def test_a_budget_holds_for_parallel_calls_together():
    asked = estimate(QUESTION.messages, QUESTION.keys)
    budget = Budget(tokens=3 * (asked + 100))
    with serve(reply(HELLO, usage=(asked, 100), delay=0.05)) as server:
        answers = ask_all(
            ask_with(server, budget, max_tokens=100), [numbered(i) for i in range(8)], workers=8
        )
    assert sorted(type(answer).__name__ for answer in answers) == ["BudgetError"] * 5 + ["Reply"] * 3
    assert len(server.requests) == 3
    assert budget.used.tokens == budget.tokens


def test_a_call_waits_for_others_if_their_reservations_alone_are_in_the_way():
    asked = estimate(QUESTION.messages, QUESTION.keys)
    budget = Budget(tokens=asked + 1000 + 8 * 20)
    with serve(reply(HELLO, usage=(10, 10), delay=0.02)) as server:
        answers = ask_all(
            ask_with(server, budget, max_tokens=1000), [numbered(i) for i in range(8)], workers=4
        )
    assert [answer.text for answer in answers] == [HELLO] * 8
    assert server.most_at_once == 1


@pytest.mark.parametrize("limits", [{"tokens": -1}, {"dollars": float("nan"), "price": Price(1, 1)}])
def test_limits_that_are_none_are_refused(limits):
    with pytest.raises(LareError, match="correct it"):
        Budget(**limits)


def test_a_limit_in_money_needs_a_price():
    with pytest.raises(LareError, match="LARE_PRICES"):
        Budget(dollars=1.0, price=price_of("my-own-model"))


def test_prices_come_from_the_users_table_first(tmp_path, monkeypatch):
    shipped = price_of("gpt-4o")
    assert shipped is not None
    assert price_of("gpt-4o-2024-08-06") == shipped != price_of("gpt-4o-2024-05-13")
    table = tmp_path / "prices.yaml"
    table.write_text("my-own-model: {input: 0, output: 0}\ngpt-4o: {input: 1, output: 2}\n")
    assert price_of("my-own-model", table) == Price(0, 0)
    monkeypatch.setenv("LARE_PRICES", str(table))
    assert price_of("gpt-4o") == Price(1, 2)
    assert price_of("gpt-4o-mini") is not None


@pytest.mark.parametrize(
    "text",
    [
        "- a",
        "m: 3",
        "m: {input: 1}",
        "m: {input: -1, output: 1}",
        "m: {input: .nan, output: 1}",
        "m: [",
        "m: {input: 1, output: 1, x: 1}",
        "m: &m [*m]",
        "m: " + "[" * 20_000,
        "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)),
    ],
)
def test_a_table_that_is_no_table_is_refused_in_one_line(tmp_path, text):
    table = tmp_path / "prices.yaml"
    table.write_text(text)
    with pytest.raises(LareError, match="is not a table of prices") as caught:
        price_of("m", table)
    assert "\n" not in str(caught.value)
    with pytest.raises(LareError, match="is not a table of prices"):
        price_of("m", tmp_path / "absent.yaml")


def test_the_ledger_has_a_line_for_every_call(tmp_path):
    ledger = Ledger(tmp_path / "new" / "calls.jsonl")
    budget = Budget(price=Price(1.0, 2.0))
    with serve(status(500, "oops"), reply(HELLO, usage=(30, 40))) as server:
        ask_with(server, budget, ledger)(numbered(3, draw=2, purpose="summary"))
    failed, done = map(json.loads, ledger.path.read_text("utf-8").splitlines())
    assert (failed["outcome"], failed["prompt_tokens"], failed["cost"]) == ("server", 0, 0.0)
    datetime.fromisoformat(done.pop("time"))
    assert done.pop("seconds") >= 0
    assert done == {
        "purpose": "summary", "draw": 2, "index": 3, "model": "m", "prompt_tokens": 30, "completion_tokens": 40,
        "estimated": False, "cost": pytest.approx(110e-6), "cached": False, "outcome": "ok",
        "form": "json_schema", "temperature": 1.0,
    }  # fmt: skip
