"""The record of replies: what is one question, what is kept, and what a replay needs."""

import hashlib
import json
import os
import threading
from dataclasses import replace

import pytest
from model_server import HELLO, reply, serve, status

from latent_reward.design.llm.ask import Message, ModelError, Reply, Request, ask_all
from latent_reward.design.llm.budget import Ledger
from latent_reward.design.llm.client import Server, connect
from latent_reward.design.llm.record import key_of, recorded, write
from latent_reward.errors import LareError

QUESTION = Request((Message("user", "Write an encoder."),), temperature=0.5, draw=1, index=2)
ANSWER = Reply("text", "served", 10, 5)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "record"


def counting():
    """An ``ask`` that numbers its answers, and the list of what it was asked."""
    asked = []

    def ask(request):
        asked.append(request)
        return replace(ANSWER, text=f"answer {len(asked)}")

    return ask, asked


def test_the_key_is_the_hash_of_the_question():
    question = {
        "messages": [{"role": "user", "content": "Write an encoder."}],
        "model": "m",
        "temperature": 0.5,
        "draw": 1,
        "index": 2,
        "keys": ["Understand", "Analyze", "Functions"],
    }
    text = json.dumps(question, sort_keys=True, separators=(",", ":"))
    assert key_of(QUESTION, "m") == hashlib.sha256(text.encode()).hexdigest()


def test_only_the_question_counts():
    others = [
        replace(QUESTION, messages=(Message("system", "Write an encoder."),)),
        replace(QUESTION, messages=(Message("user", "Write an encoder!"),)),
        replace(QUESTION, messages=(*QUESTION.messages, Message("assistant", "no"))),
        replace(QUESTION, temperature=0.4),
        replace(QUESTION, draw=2),
        replace(QUESTION, index=1),
        replace(QUESTION, draw=2, index=1),
        replace(QUESTION, keys=("Functions",)),
    ]
    keys = [key_of(each, "m") for each in (QUESTION, *others)] + [key_of(QUESTION, "n")]
    assert len(set(keys)) == len(keys)
    assert key_of(replace(QUESTION, purpose="summary"), "m") == key_of(QUESTION, "m")
    assert key_of(replace(QUESTION, temperature=1), "m") == key_of(replace(QUESTION, temperature=1.0), "m")


def test_a_question_is_paid_for_once(folder, tmp_path):
    ask, asked = counting()
    ledger = Ledger(tmp_path / "calls.jsonl")
    first = recorded(ask, "m", folder, ledger=ledger)(QUESTION)
    again = recorded(ask, "m", folder, ledger=ledger)(QUESTION)
    other = recorded(ask, "m", folder)(replace(QUESTION, index=3))
    assert (first.text, first.cached) == ("answer 1", False)
    assert again == replace(first, cached=True, cost=0.0)
    assert other.text == "answer 2"
    assert len(asked) == 2
    (line,) = ledger.path.read_text("utf-8").splitlines()  # the call itself is the client's line
    entry = json.loads(line)
    assert (entry["cached"], entry["cost"], entry["index"], entry["outcome"]) == (True, 0.0, 2, "ok")


def test_the_same_question_at_another_address_is_the_same(folder):
    with serve(reply(HELLO)) as one, serve(reply("other")) as two:
        recorded(connect(Server("m", one.url)), "m", folder)(QUESTION)
        assert recorded(connect(Server("m", two.url)), "m", folder)(QUESTION).text == HELLO
        assert two.requests == []


@pytest.mark.parametrize(
    "failure",
    [
        status(400, "bad"),
        status(500, "bad"),
        reply(None, refusal="no"),
        reply("cut", finish_reason="length"),
        reply(""),
        reply("x" * 100, cut=120),
    ],
    ids=["400", "500", "refused", "truncated", "empty", "disconnected"],
)
def test_a_failure_is_never_recorded(folder, failure):
    with serve(failure) as server:
        ask = recorded(connect(Server("m", server.url), sleep=lambda seconds: None), "m", folder)
        with pytest.raises(ModelError):
            ask(QUESTION)
    assert list(folder.iterdir()) == []


def test_a_replay_needs_no_model(folder):
    ask, _ = counting()
    recorded(ask, "m", folder)(QUESTION)
    replayed = recorded(None, "m", folder)
    assert replayed(QUESTION).text == "answer 1"
    with pytest.raises(LareError, match=r"purpose candidate, draw 7, candidate 2, temperature 0.5, model m"):
        replayed(replace(QUESTION, draw=7))
    with pytest.raises(LareError, match="run once without replay"):
        recorded(None, "n", folder)(QUESTION)
    with pytest.raises(LareError, match="there is no record"):
        recorded(None, "m", folder / "absent")


def damages():
    def edit(change):
        def damage(path):
            content = json.loads(path.read_text("utf-8"))
            change(content)
            path.write_text(json.dumps(content), "utf-8")

        return damage

    return {
        "cut": lambda path: path.write_bytes(path.read_bytes()[:-30]),
        "empty": lambda path: path.write_bytes(b""),
        "bytes": lambda path: path.write_bytes(b"\xff\xfe{}"),
        "a list": lambda path: path.write_text("[]"),
        "deep": lambda path: path.write_text("[" * 100_000),
        "edited": edit(lambda content: content["reply"].update(text="def evaluation_func(): ...")),
        "a part missing": edit(lambda content: content["reply"].pop("text")),
        "a part more": edit(lambda content: content["reply"].update(cached=False)),
        "another question": edit(lambda content: content["question"].update(index=0)),
        "no digest": edit(lambda content: content.pop("digest")),
        "less than nothing": edit(signed(completion_tokens=-(10**6))),
        "not a number": edit(signed(prompt_tokens=float("nan"))),
        "a number as text": edit(signed(prompt_tokens="10")),
        "a number of many digits": lambda path: path.write_text(
            path.read_text().replace(": 10,", f": {'1' * 9999},")
        ),
        "no text": edit(signed(text=["a"])),
    }


def signed(**changes):
    """A change with a digest that fits, as whoever reads this file can make one."""

    def change(content):
        content["reply"].update(changes)
        text = json.dumps(content["reply"], sort_keys=True, separators=(",", ":"))
        content["digest"] = hashlib.sha256(text.encode()).hexdigest()

    return change


@pytest.mark.parametrize("damage", damages().values(), ids=damages())
def test_a_file_that_was_changed_is_an_error_and_stays_as_it_is(folder, damage):
    ask, asked = counting()
    answer = recorded(ask, "m", folder)
    answer(QUESTION)
    (path,) = folder.iterdir()
    damage(path)
    content = path.read_bytes()
    for again in (answer, recorded(None, "m", folder)):
        with pytest.raises(LareError, match=f"{path} is damaged or was edited .* or delete it") as caught:
            again(QUESTION)
        assert "\n" not in str(caught.value)
    assert (len(asked), path.read_bytes()) == (1, content)
    path.unlink()
    assert answer(QUESTION).text == "answer 2"


def test_what_is_no_file_is_not_opened(folder):
    answer = recorded(counting()[0], "m", folder)
    answer(QUESTION)
    (path,) = folder.iterdir()
    path.unlink()
    os.mkfifo(path)  # to read from it would wait forever
    with pytest.raises(LareError, match="it is no file"):
        answer(QUESTION)
    os.mkfifo(folder / "pipe")
    with pytest.raises(LareError, match=r"ledger: .* is no file"):
        Ledger(folder / "pipe")


def test_a_ledger_whose_last_line_was_cut_off_goes_on_in_a_line_of_its_own(tmp_path):
    path = tmp_path / "calls.jsonl"
    path.write_text('{"time": "2030')
    Ledger(path).write(QUESTION, "m", ANSWER, "ok")
    Ledger(path).write(QUESTION, "m", ANSWER, "ok")
    first, *rest = path.read_text("utf-8").splitlines()
    assert first == '{"time": "2030'
    assert [json.loads(line)["outcome"] for line in rest] == ["ok", "ok"]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LareError, match="record: cannot write"):
        recorded(counting()[0], "m", tmp_path / "file" / "record")


def test_writers_of_the_same_question_never_leave_half_a_file(folder):
    """The texts are long, so that a reader would meet a write that is not atomic."""
    answer = recorded(lambda request: replace(ANSWER, text="x" * 100_000), "m", folder)
    answer(QUESTION)
    replayed, done, problems = recorded(None, "m", folder), threading.Event(), []

    def read():
        while not done.is_set():
            try:
                replayed(QUESTION)
            except LareError as error:
                problems.append(str(error))

    readers = [threading.Thread(target=read) for _ in range(2)]
    writers = [
        threading.Thread(target=lambda: [write(folder, QUESTION, "m", answer(QUESTION)) for _ in range(40)])
        for _ in range(3)
    ]
    for thread in readers + writers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert problems == []
    assert len(list(folder.iterdir())) == 1


def test_parallel_questions_are_all_recorded(folder):
    lock, count = threading.Lock(), [0]

    def ask(request):
        with lock:
            count[0] += 1
        return replace(ANSWER, text=str(request.index))

    requests = [replace(QUESTION, index=index) for index in range(40)]
    answers = ask_all(recorded(ask, "m", folder), requests, workers=8)
    assert [answer.text for answer in answers] == [str(index) for index in range(40)]
    assert [answer.text for answer in ask_all(recorded(None, "m", folder), requests)] == [
        answer.text for answer in answers
    ]
    assert count == [40]
