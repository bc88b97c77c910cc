"""Talking to a model, against a real HTTP server on loopback through the real client library."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from model_server import HELLO, Answer, encoder_reply, reply, serve, status

from latent_reward.design.llm.ask import KEYS, Message, ModelError, Request, ask_all
from latent_reward.design.llm.budget import Ledger
from latent_reward.design.llm.client import Server, connect
from latent_reward.design.llm.record import recorded
from latent_reward.design.llm.wire import FORMS, retry_after
from latent_reward.design.reply import read_reply
from latent_reward.errors import LareError

QUESTION = Request((Message("user", "Write an encoder as JSON."),), temperature=0.3)
KEY = "sk-test-0123456789abcdef"
SOURCE = "def evaluation_func(observation, action):\n    return [observation[:, 0:1]]\n"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "LARE_PRICES", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def slept():
    return []


@pytest.fixture
def client(slept):
    """Connects to a scripted server without ever sleeping."""

    def make(server, *, budget=None, ledger=None, **settings):
        return connect(Server("m", server.url, **settings), budget, ledger, sleep=slept.append)

    return make


def numbered(index, **settings):
    return Request(QUESTION.messages, index=index, **settings)


def entries(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def form_of(body):
    """Which form of answer a request asks for."""
    form = body.get("response_format", {"type": "text"})
    return form["type"] + (" with schema" if "schema" in form else "")


# What is sent and what comes back


def test_a_good_reply(client):
    with serve(reply(HELLO, usage=(7, 3))) as server:
        answer = client(server)(QUESTION)
    assert (answer.text, answer.model) == (HELLO, "served-model")
    assert (answer.prompt_tokens, answer.completion_tokens, answer.estimated) == (7, 3, False)
    assert answer.cost is None
    (body,) = server.requests
    assert body["model"] == "m"
    assert body["messages"] == [{"role": "user", "content": "Write an encoder as JSON."}]
    assert (body["temperature"], body["max_tokens"]) == (0.3, 4096)
    schema = body["response_format"]["json_schema"]["schema"]
    assert tuple(schema["properties"]) == tuple(schema["required"]) == KEYS


def test_texts_of_every_language_and_lone_surrogates_survive(client):
    broken = Answer(body=json.dumps(reply("Größe 数 🙂 \ud800").body))
    with serve(broken) as server:
        text = client(server)(QUESTION).text
    assert text == "Größe 数 🙂 ?"


@pytest.mark.parametrize("usage", [None, (0, 0)])
def test_missing_usage_is_estimated_and_says_so(client, usage):
    with serve(reply("x" * 100, usage=usage)) as server:
        answer = client(server)(QUESTION)
    assert answer.estimated
    assert answer.prompt_tokens >= len(QUESTION.messages[0].content) / 3
    assert 100 / 3 <= answer.completion_tokens <= 100


def test_the_text_parts_of_a_list_are_the_text(client):
    answer = reply("")
    parts = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": HELLO[:5]},
        {"type": "text", "text": HELLO[5:]},
    ]
    answer.body["choices"][0]["message"]["content"] = parts
    with serve(answer) as server:
        assert client(server)(QUESTION).text == HELLO


# Forms of answer


@pytest.mark.parametrize(
    ("taken", "calls"),
    [
        ("json_schema", ["json_schema"]),
        ("json_object with schema", ["json_schema", "json_object with schema"]),
        ("json_object", ["json_schema", "json_object with schema", "json_object"]),
        ("text", ["json_schema", "json_object with schema", "json_object", "text"]),
    ],
)
def test_falls_back_to_what_the_server_takes_and_remembers_it(client, slept, taken, calls):
    def behaviour(body):
        if form_of(body) != taken:
            return status(400, f"'response_format.type' {form_of(body)} is not supported")
        return reply(HELLO)

    with serve(behaviour) as server:
        ask = client(server)
        assert ask(QUESTION).text == ask(QUESTION).text == HELLO
    assert [form_of(body) for body in server.requests] == [*calls, taken]
    assert slept == []
    if taken == "text":
        assert "```json" in server.requests[-1]["messages"][-1]["content"]


def test_a_thread_learns_from_the_others_and_takes_nothing_back(client):
    learned = threading.Event()

    def behaviour(body):
        if form_of(body) == "json_schema" and body["messages"][0]["content"] == "slow":
            learned.wait(10)
        return reply(HELLO) if form_of(body) == "json_object" else status(422, "response_format: unexpected")

    def forms(text):
        return [form_of(body) for body in server.requests if body["messages"][0]["content"] == text]

    with serve(behaviour) as server:
        ask = client(server)
        slow = threading.Thread(target=ask, args=(Request((Message("user", "slow"),)),))
        slow.start()
        while not forms("slow"):
            time.sleep(0.005)
        ask(QUESTION)
        learned.set()
        slow.join()
        ask(Request((Message("user", "last"),)))
    assert forms("slow") == ["json_schema", "json_object"]
    assert forms("last") == ["json_object"]


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("max_tokens", "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
        ("temperature", "'temperature' does not support 0.3 with this model. Only the default is supported."),
    ],
)
def test_gives_up_parameters_a_model_does_not_know(client, word, complaint):
    def behaviour(body):
        return status(400, complaint, param=word) if word in body else reply(HELLO)

    with serve(behaviour) as server:
        ask = client(server)
        assert ask(QUESTION).text == ask(QUESTION).text == HELLO
    assert [word in body for body in server.requests] == [True, False, False]
    if word == "max_tokens":
        assert server.requests[-1]["max_completion_tokens"] == 4096


def test_a_server_that_takes_neither_limit_ends_in_an_error(client):
    with serve(lambda body: status(400, "unknown: max_tokens, max_completion_tokens")) as server:
        with pytest.raises(ModelError, match="400: unknown"):
            client(server)(QUESTION)
        assert len(server.requests) <= 11


# Failures that pass


def test_waits_as_long_as_the_server_says(client, slept):
    script = [status(429, "slow", {"Retry-After": value}) for value in ("7", "90", "soon")]
    with serve(*script, reply(HELLO)) as server:
        assert client(server)(QUESTION).text == HELLO
    assert slept[:2] == [7.0, 60.0]
    assert 2 <= slept[2] <= 4


@pytest.mark.parametrize("value", ["86400", "1e300", "inf", "in an hour"])
def test_who_asks_to_wait_for_hours_is_not_asked_again(client, slept, value):
    hour = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    with serve(status(429, "slow", {"Retry-After": hour if "hour" in value else value})) as server:
        with pytest.raises(ModelError, match=r"run the same command later.*asks to wait"):
            client(server)(QUESTION)
        assert len(server.requests) == 1
    assert slept == []


def test_retry_after_reads_seconds_and_dates():
    now = datetime(2030, 1, 1, tzinfo=UTC)
    assert retry_after({"retry-after": "Tue, 01 Jan 2030 00:00:20 GMT"}, now) == 20
    assert retry_after({"retry-after": "Mon, 31 Dec 2029 00:00:00 GMT"}, now) == 0
    assert retry_after({"retry-after": "1e9"}, now) == 1e9
    assert [
        retry_after({"retry-after": bad}, now)
        for bad in ("nan", "soon", "", "Mon, 01 Jan 99999 00:00:00 GMT")
    ] == [None] * 4
    assert retry_after({}, now) is None


def test_backs_off_exponentially_with_jitter(client, slept):
    with serve(*[status(503, "busy")] * 4, reply(HELLO)) as server:
        assert client(server)(QUESTION).text == HELLO
    assert [2**n / 2 <= seconds <= 2**n for n, seconds in enumerate(slept)] == [True] * 4
    assert len(set(slept)) == 4


def test_gives_up_after_so_many_tries(client, slept):
    with serve(status(500, "oops")) as server:
        with pytest.raises(ModelError, match="500: oops; try again later") as caught:
            client(server)(QUESTION)
        assert caught.value.kind == "server"
    # Twice as it is, once in each lower form, and then as it was, in case the server comes back.
    assert [form_of(body) for body in server.requests] == [FORMS[0], *FORMS, *[FORMS[0]] * 3]
    assert len(slept) == 4


@pytest.mark.parametrize(
    ("behaviour", "kind", "calls"),
    [
        (reply("late", delay=5), "timeout", 3),
        (reply("x" * 1000, cut=200), "disconnected", 4),
        (Answer(body="<html>welcome</html>", headers={"Content-Type": "text/html"}), "malformed", 3),
        (Answer(body='{"choices": [{"index"'), "malformed", 3),
        (Answer(body={"hello": "world"}), "empty", 3),
        (Answer(body={"choices": [], "model": "m"}), "empty", 3),
        (Answer(body={"choices": [{"index": 0, "finish_reason": "stop"}]}), "empty", 3),
        (Answer(body={"choices": "none"}), "malformed", 3),
        (Answer(body=[1, 2]), "malformed", 3),
        (Answer(body=None), "malformed", 3),
        (Answer(body={"choices": [None]}), "empty", 3),
        (Answer(body={"choices": [{"message": "text"}]}), "empty", 3),
        (reply(None), "empty", 3),
        (reply("  \n"), "empty", 3),
        (reply(None, refusal="I cannot help."), "refused", 2),
        (reply("partly", finish_reason="content_filter"), "refused", 2),
        (reply('{"Functions": "def', finish_reason="length"), "truncated", 3),
        (reply(" \n" * 99, finish_reason="length"), "truncated", 3),
        (reply("", finish_reason="length", reasoning="I think " * 99), "truncated", 2),
    ],
)
def test_every_failure_has_a_kind_and_a_limit(client, behaviour, kind, calls, tmp_path):
    ledger = Ledger(tmp_path / "calls.jsonl")
    with serve(behaviour) as server:
        with pytest.raises(ModelError) as caught:
            client(server, timeout_s=0.2, ledger=ledger)(QUESTION)
        assert caught.value.kind == kind
        assert "\n" not in str(caught.value)
        assert "; " in str(caught.value) or "?" in str(caught.value)
        assert len(server.requests) == calls
    assert [entry["outcome"] for entry in entries(ledger.path)] == [kind] * calls


@pytest.mark.parametrize(
    "first", [reply(None), reply("cut", finish_reason="length"), reply("x" * 99, cut=150)]
)
def test_a_passing_failure_does_not_lose_the_question(client, first):
    with serve(first, reply(HELLO)) as server:
        assert client(server)(QUESTION).text == HELLO


# Failures that stay


@pytest.mark.parametrize(
    ("number", "error", "words"),
    [
        (401, {"message": "no key"}, "name the environment variable .* with --key-variable"),
        (402, {"message": "Insufficient balance"}, "no credit left"),
        (403, {"message": "not yours"}, "may not use 'm'"),
        (404, {"message": "no such model"}, "check --model 'm' and --base-url"),
        (413, {"message": "large"}, "--max-tokens"),
        (400, {"message": "far too long", "code": "context_length_exceeded"}, "lower --max-tokens"),
        (429, {"message": "pay", "code": "insufficient_quota"}, "no credit left"),
    ],
)
def test_what_cannot_help_is_not_asked_again(client, slept, number, error, words):
    with serve(status(number, **error)) as server:
        with pytest.raises(ModelError, match=words) as caught:
            client(server)(QUESTION)
        assert len(server.requests) == 1
    assert caught.value.kind == "rejected"
    assert slept == []


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("bad", "check --model and --base-url"),
        ("This model's maximum context length is 512 tokens; max_tokens is too large", "lower --max-tokens"),
    ],
)
def test_a_refused_request_is_asked_without_all_that_can_be_left_out(client, slept, message, words):
    """Each form once, then without temperature and with the other name of the limit; nothing of that is paid."""
    with serve(status(400, message)) as server, pytest.raises(ModelError, match=words):
        client(server)(QUESTION)
    assert [form_of(body) for body in server.requests] == [*FORMS, "text", "text"]
    assert slept == []


def test_a_content_filter_that_answers_400_is_a_refusal(client):
    with serve(status(400, "filtered", code="content_filter")) as server, pytest.raises(ModelError) as caught:
        client(server)(QUESTION)
    assert caught.value.kind == "refused"


def test_nobody_listens(slept):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(ModelError, match=f"cannot connect to {url}; is the server up") as caught:
        connect(Server("m", url), sleep=slept.append)(QUESTION)
    assert caught.value.kind == "unreachable"
    assert len(slept) == 2


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model": " "}, "model: the name is empty"),
        ({"base_url": "localhost:8000"}, "base_url: 'localhost:8000' is not a URL"),
        ({"base_url": "http://user:secret@localhost/v1"}, "environment variable"),
        ({"base_url": "http://localhost:port/v1"}, "is not a URL"),
        ({"max_tokens": 0}, "max_tokens: 0"),
        ({"timeout_s": float("nan")}, "timeout_s: nan"),
        ({"base_url": None}, "OPENAI_API_KEY is not set"),
        ({"key_variable": "MY_KEY"}, "MY_KEY is not set"),
        ({"key_variable": "BAD_KEY"}, "BAD_KEY holds blanks"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_any_call(monkeypatch, settings, words):
    monkeypatch.setenv("BAD_KEY", "two words")
    with pytest.raises(LareError, match=words) as caught:
        connect(Server(**{"model": "m", "base_url": "http://localhost:1/v1", **settings}))
    assert "secret" not in str(caught.value)
    assert "two words" not in str(caught.value)


def test_requests_that_no_server_takes_are_refused():
    with pytest.raises(LareError, match="temperature: nan"):
        Request(QUESTION.messages, temperature=float("nan"))
    with pytest.raises(LareError, match="messages"):
        Request(())


# Keys


def test_a_key_goes_only_where_it_is_named(monkeypatch, client):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serve(reply(HELLO)) as server:
        client(server)(QUESTION)
        monkeypatch.setenv("MINE", "another-key")
        client(server, key_variable="MINE")(QUESTION)
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        connect(Server("m"))(QUESTION)
    sent = [headers["authorization"] for headers in server.headers]
    assert sent == ["Bearer none", "Bearer another-key", f"Bearer {KEY}"]


def test_a_key_that_the_server_repeats_is_seen_nowhere(monkeypatch, client, tmp_path, capsys):
    monkeypatch.setenv("MINE", f"{KEY}\n")
    ledger = Ledger(tmp_path / "calls.jsonl")
    script = [
        status(500, f"upstream said: Bearer {KEY}"),
        reply(None, refusal=f"not with {KEY}"),
        Answer(body={"choices": [], "error": {"message": KEY}, "model": KEY}),
        reply(f"your key is {KEY}", model=KEY),
        status(401, f"Incorrect API key provided: {KEY}", code=KEY, param=KEY),
        reply(None, refusal=KEY),
        Answer(body={"choices": [], "error": {"message": KEY}}),
    ]
    messages = []
    with serve(*script) as server:
        ask = recorded(
            client(server, key_variable="MINE", ledger=ledger), "m", tmp_path / "record", ledger=ledger
        )
        messages.append(ask(QUESTION).text)
        for index in (1, 2):
            with pytest.raises(ModelError) as caught:
                ask(numbered(index))
            messages.append(
                "".join(map(str, (caught.value, caught.value.__cause__, caught.value.__context__)))
            )
    assert messages[0] == "your key is [key]"
    assert all("[key]" in message for message in messages[1:2])
    written = [path.read_text("utf-8") for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 2
    captured = capsys.readouterr()
    assert not [text for text in [*messages, *written, captured.out, captured.err] if KEY in text]


# Many questions


def test_answers_keep_their_order_and_a_failure_its_place(client):
    def behaviour(body):
        number = int(body["messages"][0]["content"])
        return status(400, "bad") if number == 2 else reply(str(number), delay=0.02 * (5 - number))

    requests = [Request((Message("user", str(number)),)) for number in range(5)]
    with serve(behaviour) as server:
        answers = ask_all(client(server), requests, workers=3)
    assert [getattr(answer, "text", None) for answer in answers] == ["0", "1", None, "3", "4"]
    assert isinstance(answers[2], ModelError)
    assert 2 <= server.most_at_once <= 3
    assert ask_all(client(server), []) == []


def test_a_mistake_in_the_program_is_not_taken_for_an_answer():
    def ask(request):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask_all(ask, [QUESTION])
    with pytest.raises(LareError, match="workers: 0"):
        ask_all(ask, [QUESTION], workers=0)


_DESIGNER = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits "ignore"
from pathlib import Path
from latent_reward.design.llm.ask import Message, Request, ask_all
from latent_reward.design.llm.client import Server, connect
from latent_reward.design.llm.record import recorded
ask = recorded(connect(Server("m", sys.argv[1])), "m", Path(sys.argv[2]))
ask_all(ask, [Request((Message("user", "go"),), index=index) for index in range(4)])
"""


def test_ctrl_c_leaves_at_once_and_keeps_what_was_answered(tmp_path):
    hanging = reply("late", delay=60)
    with serve(reply("a"), reply("b"), hanging) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", _DESIGNER, server.url, str(tmp_path / "record")],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "src")},
            stderr=subprocess.PIPE,
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and len(list(tmp_path.glob("record/*.json"))) < 2:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=50)  # the hanging answer comes after 60 s
        finally:
            process.kill()
    assert process.returncode != 0
    assert b"KeyboardInterrupt" in errors
    files = list((tmp_path / "record").iterdir())
    assert sorted(json.loads(path.read_text("utf-8"))["reply"]["text"] for path in files) == ["a", "b"]


def test_training_and_help_never_load_the_client():
    modules = "latent_reward.cli, latent_reward.training.train, latent_reward.design.llm.client"
    code = f"import sys, {modules}; print('openai' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_other_texts_can_be_asked_for(client):
    keys = ("Plan", "Code")
    with serve(
        lambda body: reply(
            json.dumps(dict.fromkeys(body["response_format"]["json_schema"]["schema"]["required"], "t"))
        )
    ) as server:
        text = client(server)(Request(QUESTION.messages, keys=keys)).text
    assert read_reply(text, keys) == {"Plan": "t", "Code": "t"}


def test_an_encoders_reply_goes_all_the_way(client):
    with serve(encoder_reply(SOURCE)) as server:
        assert read_reply(client(server)(QUESTION).text)["Functions"] == SOURCE
