"""Servers that are broken, strange or hostile: forms of answer that fail, thoughts, floods, keys, redirects."""

import gzip
import json
import socket
import ssl
import subprocess
import threading
import time

import pytest
from model_server import HELLO, Answer, encoder_reply, reply, serve, status

from latent_reward.design.llm.ask import Message, ModelError, Request, ask_all
from latent_reward.design.llm.budget import Budget, Ledger, Price, Usage, estimate
from latent_reward.design.llm.client import Server, connect
from latent_reward.design.llm.record import recorded
from latent_reward.design.llm.wire import FORMS, printable
from latent_reward.design.reply import read_reply
from latent_reward.errors import LareError

QUESTION = Request((Message("user", "Write an encoder as JSON."),), temperature=0.3)
KEY = "sk-test-0123456789abcdef"
SOURCE = "def evaluation_func(observation, action):\n    return [observation[:, 0:1]]\n"
ENCODER = json.dumps({"Understand": "u", "Analyze": "a", "Functions": SOURCE})
BLANKS = reply("\n  " * 300, finish_reason="length")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_CUSTOM_HEADERS", "HTTP_PROXY",
                 "http_proxy", "ALL_PROXY"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def said():
    return []


@pytest.fixture
def client(said):
    """Connects to a scripted server without ever sleeping."""

    def make(server, *, budget=None, ledger=None, **settings):
        url = server if isinstance(server, str) else server.url
        return connect(
            Server("m", url, **settings), budget, ledger, sleep=lambda seconds: None, say=said.append
        )

    return make


def form_of(body):
    form = body.get("response_format", {"type": "text"})
    return form["type"] + (" with schema" if "schema" in form else "")


def forms(server):
    return [form_of(body) for body in server.requests]


# Forms of answer that fail

UNEXPECTED = "Größe 数: peg-native"  # words that tell nothing


@pytest.mark.parametrize("failure", [
    status(400, UNEXPECTED), status(422, UNEXPECTED), status(501, UNEXPECTED), status(400), Answer(400, body=""),
    Answer(422, body={"detail": [{"loc": ["body"], "msg": "Extra inputs are not permitted"}]}),
    Answer(body={"error": {"message": UNEXPECTED, "code": 400}}),
])  # fmt: skip
@pytest.mark.parametrize("works", FORMS[1:])
def test_a_form_that_is_refused_is_left_whatever_the_server_says(client, said, tmp_path, failure, works):
    def behaviour(body):
        return reply(HELLO) if form_of(body) == works else failure

    ledger, budget = Ledger(tmp_path / "calls.jsonl"), Budget()
    with serve(behaviour) as server:
        ask = client(server, ledger=ledger, budget=budget)
        assert ask(QUESTION).text == ask(QUESTION).text == HELLO
        assert forms(server) == [*FORMS[: FORMS.index(works) + 1], works]
    (line,) = said  # once, in one line
    assert (
        f"in the form json_schema fail (answered {failure.status if failure.status != 200 else 400}" in line
    )
    assert f"from now on the form is {works}" in line
    assert "\n" not in line
    entries = [json.loads(line) for line in ledger.path.read_text("utf-8").splitlines()]
    assert [entry["form"] for entry in entries] == forms(server)
    assert entries[-2]["instead_of"] == "json_schema"
    assert budget.used == Usage(200, 100, len(entries))  # refusals are free


@pytest.mark.parametrize("works", FORMS[1:])
def test_a_form_that_breaks_the_server_twice_is_left(client, said, works):
    def behaviour(body):
        return reply(HELLO) if form_of(body) == works else status(500, "Internal Server Error")

    with serve(behaviour) as server:
        ask = client(server)
        assert ask(QUESTION).text == ask(QUESTION).text == HELLO
        assert forms(server) == [FORMS[0], *FORMS[: FORMS.index(works) + 1], works]
    assert len(said) == 1


@pytest.mark.parametrize("number", [502, 503, 529])
def test_an_overloaded_server_keeps_its_form(client, said, number):
    with serve(*[status(number)] * 4, reply(HELLO)) as server:
        assert client(server)(QUESTION).text == HELLO
        assert set(forms(server)) == {FORMS[0]}
    assert said == []


def test_a_form_in_which_the_server_is_always_overloaded_is_left(client):
    with serve(lambda body: status(503) if "response_format" in body else reply(HELLO)) as server:
        assert client(server)(QUESTION).text == HELLO


@pytest.mark.parametrize(
    "failure",
    [
        BLANKS,
        reply(""),
        reply(None),
        reply("{" + "\n" * 500, finish_reason="length"),
        reply(ENCODER[:60], finish_reason="length"),
        reply('{"Functions": "' + "def f(): pass\\n" * 99, finish_reason="length"),
        Answer(body={"choices": []}),
    ],
    ids=["blanks", "empty", "null", "brace and blanks", "cut off", "loop", "no choice"],
)
@pytest.mark.parametrize("works", ["json_object", "text"])
def test_a_form_with_blank_or_cut_off_answers_is_left(client, said, tmp_path, failure, works):
    """Such an answer is paid for, so the second form, which has the grammar of the first, is not tried."""

    def behaviour(body):
        return reply(HELLO) if form_of(body) == works else failure

    budget, ledger = Budget(), Ledger(tmp_path / "calls.jsonl")
    with serve(behaviour) as server:
        ask = client(server, budget=budget, ledger=ledger)
        assert ask(QUESTION).text == ask(QUESTION).text == HELLO
        tried = ["json_schema", "json_object", "text"]
        assert forms(server) == [*tried[: tried.index(works) + 1], works]
    assert len(said) == 1
    entries = [json.loads(line) for line in ledger.path.read_text("utf-8").splitlines()]
    assert (
        budget.used.tokens == sum(each["prompt_tokens"] + each["completion_tokens"] for each in entries) > 300
    )
    text = (failure.body["choices"] or [{"message": {"content": ""}}])[0]["message"]["content"] or ""
    assert entries[0].get("excerpt", "") == text.strip()[:2000]  # what was paid for is not lost


def test_a_whole_answer_with_blanks_up_to_the_limit_is_taken(client, said):
    with serve(reply(ENCODER + "\n" * 900, finish_reason="length")) as server:
        assert read_reply(client(server)(QUESTION).text)["Functions"] == SOURCE
        assert len(server.requests) == 1
    assert said == []


@pytest.mark.parametrize("text", [
    f"```python\n{SOURCE}", SOURCE.rstrip() + " + {}", f"```json\n{ENCODER[:-2]}", ENCODER[:-1],
    "```" + ENCODER[:9] + "```",
])  # fmt: skip
def test_what_reads_well_and_was_cut_off_is_not_taken(client, text):
    with (
        serve(reply(text, finish_reason="length")) as server,
        pytest.raises(ModelError, match="--max-tokens"),
    ):
        client(server)(QUESTION)


def test_a_form_that_is_not_kept_is_left_and_the_answer_is_not_lost(client, said):
    """The server ignores the schema: the answer is returned, to be sent back, and the next question is in words."""
    with serve(reply("I would rather talk."), reply("And talk."), reply(HELLO)) as server:
        ask = client(server)
        assert [ask(QUESTION).text for _ in range(3)] == ["I would rather talk.", "And talk.", HELLO]
        assert forms(server) == ["json_schema", "json_object", "text"]
    assert len(said) == 2


def test_threads_learn_a_form_together(client, said):
    def behaviour(body):
        return reply(HELLO) if form_of(body) == "text" else BLANKS

    with serve(behaviour) as server:
        ask = client(server)
        requests = [Request(QUESTION.messages, index=index) for index in range(6)]
        assert [each.text for each in ask_all(ask, requests, workers=3)] == [HELLO] * 6
        assert ask(QUESTION).text == HELLO
        assert forms(server)[-1] == "text"
        assert len(server.requests) <= 3 * 3 + 3 + 1
    assert len(said) == 1


def test_the_error_of_a_model_that_writes_too_much_names_the_option(client):
    with serve(reply(ENCODER[:60], finish_reason="length")) as server:
        with pytest.raises(ModelError, match=r"cut off at 50 tokens; raise --max-tokens"):
            client(server, max_tokens=50)(QUESTION)
        assert len(server.requests) == 3


# Models that think


@pytest.mark.parametrize("content", ["", None, "  \n", "<think></think>"])
@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_an_answer_among_the_thoughts_is_read(client, name, content):
    thoughts = f"The point should be near.\n{ENCODER}"
    with serve(reply(content, **{name: thoughts})) as server:
        assert read_reply(client(server)(QUESTION).text)["Functions"] == SOURCE
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "content",
    [
        f"<think>hm {{}} {HELLO}</think>{ENCODER}",
        f"hm {HELLO}</think>\n\n{ENCODER}",
        f"<thinking>hm</thinking>{ENCODER}",
        f"<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>{ENCODER}",
        [
            {"type": "thinking", "thinking": [{"type": "text", "text": HELLO}]},
            {"type": "text", "text": ENCODER},
        ],
        [{"type": "output_text", "text": ENCODER[:9]}, None, {"type": "text", "text": ENCODER[9:]}],
    ],
)
def test_thoughts_beside_the_answer_are_left_out(client, content):
    with serve(reply(content)) as server:
        assert client(server)(QUESTION).text.strip() == ENCODER


def test_a_model_that_only_thinks_is_told_apart(client):
    with serve(reply("", reasoning="I think " * 99)) as server:
        with pytest.raises(ModelError, match=r"only thought .* --reasoning-effort .* --max-tokens") as caught:
            client(server)(QUESTION)
        assert caught.value.kind == "empty"
    for cut in (reply("", finish_reason="length", reasoning="hm " * 99),
                reply("<think>hm hm", finish_reason="max_tokens"),
                reply([{"type": "thinking", "thinking": "hm"}], finish_reason="MODEL_LENGTH")):  # fmt: skip
        with serve(cut) as server:
            words = "spent all 4,096 tokens on thinking; raise --max-tokens, or lower --reasoning-effort"
            with pytest.raises(ModelError, match=words):
                client(server)(QUESTION)
            assert len(server.requests) == 2


def test_a_draft_in_thoughts_that_were_cut_off_is_not_the_answer(client):
    late = reply("", finish_reason="length", reasoning=ENCODER + " No, better:")
    with serve(late) as server, pytest.raises(ModelError, match="on thinking"):
        client(server)(QUESTION)


@pytest.mark.parametrize("words", ["Unrecognized request argument: reasoning_effort", UNEXPECTED])
def test_a_reasoning_effort_is_sent_and_left_out_where_it_is_refused(client, said, words):
    with serve(reply(HELLO)) as server:
        client(server, reasoning_effort="low")(QUESTION)
        assert server.requests[0]["reasoning_effort"] == "low"
    assert said == []
    with serve(lambda body: status(422, words) if "reasoning_effort" in body else reply(HELLO)) as server:
        ask = client(server, reasoning_effort="low")
        assert ask(QUESTION).text == ask(QUESTION).text == HELLO
        assert ["reasoning_effort" in body for body in server.requests] == [True, False, False]
        assert set(forms(server)) == {"json_schema"}
    (line,) = said
    assert "a reasoning effort is refused (answered 422" in line


def test_a_form_that_is_refused_does_not_cost_the_effort(client):
    with serve(lambda body: status(400) if "response_format" in body else reply(HELLO)) as server:
        ask = client(server, reasoning_effort="low")
        assert ask(QUESTION).text == ask(QUESTION).text == HELLO
        assert [body.get("reasoning_effort") for body in server.requests[-2:]] == ["low", "low"]
        assert len(server.requests) == 6


def test_a_server_that_takes_neither_form_nor_effort_is_talked_to_in_plain_text(client):
    def behaviour(body):
        return (
            status(400)
            if {"response_format", "reasoning_effort", "temperature"} & set(body)
            else reply(HELLO)
        )

    with serve(behaviour) as server:
        assert client(server, reasoning_effort="low")(QUESTION).text == HELLO


# What a hostile server can send


@pytest.mark.parametrize("number", [200, 500])
def test_a_flood_is_cut_off(client, number):
    with serve(Answer(number, body=b'"' + b"x" * 1_000_000, endless=0.0)) as server:
        begun = time.monotonic()
        with pytest.raises(ModelError, match="more than 10 MB for one answer") as caught:
            client(server)(QUESTION)
        assert caught.value.kind == "unbounded"
        assert len(server.requests) == 1
    assert time.monotonic() - begun < 20


def test_a_compressed_bomb_is_cut_off(client):
    bomb = gzip.compress(b" " * 300_000_000, compresslevel=9)
    for encoding, words in (("gzip", "more than 10 MB"), ("gzip, gzip", "compressed its answer twice")):
        with serve(Answer(body=bomb, headers={"Content-Encoding": encoding})) as server:
            with pytest.raises(ModelError, match=words):
                client(server)(QUESTION)
            assert server.headers[0]["accept-encoding"] == "identity"
    with serve(Answer(body=gzip.compress(json.dumps(reply(HELLO).body).encode()),
                      headers={"Content-Encoding": "gzip"})) as server:  # fmt: skip
        assert client(server)(QUESTION).text == HELLO


@pytest.mark.parametrize("number", [200, 503])
def test_a_drip_without_end_is_given_up(client, number, tmp_path):
    """Each byte comes in time, but not the last one; the call counts in full, since it may be charged."""
    budget = Budget()
    with serve(Answer(number, body=b" ", endless=0.05)) as server:
        begun = time.monotonic()
        with pytest.raises(ModelError, match=r"did not end its answer .* --timeout") as caught:
            client(server, timeout_s=0.3, budget=budget)(QUESTION)
        assert caught.value.kind == "unbounded"
        assert 1 < time.monotonic() - begun < 10
    assert budget.used == Usage(estimate(QUESTION.messages, QUESTION.keys), 4096, 1)


def test_headers_without_end_are_given_up(client):
    """A drip in the headers, which no time-out between bytes ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)

        def drip():
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                try:
                    for _ in range(400):
                        connection.sendall(b"x")
                        time.sleep(0.05)
                except OSError:
                    pass

        threading.Thread(target=drip, daemon=True).start()
        begun = time.monotonic()
        with pytest.raises(ModelError, match=r"did not end its answer within 1\.2 s"):
            client(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", timeout_s=0.3)(QUESTION)
        assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"\xff\xfe\x00", "malformed"),
        (b"", "malformed"),
        (b"[" * 2_000_000, "malformed"),
        (b'{"a":' * 200_000, "malformed"),
        (b"1" * 9999, "malformed"),
        (b"data: {}\n\n" * 99, "malformed"),
        (json.dumps({"choices": {"0": 1}}).encode(), "malformed"),
        (json.dumps({"choices": [{"message": {"content": {"a": 1}}}]}).encode(), "empty"),
        (json.dumps({"choices": [{"message": {"content": [[[]], {"text": [[{}]]}, 3]}}]}).encode(), "empty"),
        (json.dumps({"choices": [{"finish_reason": ["a"], "message": {"refusal": [1]}}]}).encode(), "empty"),
        (b'{"choices": [{"message": {"content": ' + b'[{"type": "text", "text": ' * 300 + b'""' + b"}]" * 300
         + b"}}]}", "malformed"),
    ],
    ids=range(11),
)  # fmt: skip
def test_a_body_of_any_form_is_one_line(client, body, kind):
    answer = Answer(body=body, headers={"Content-Type": "image/png; charset=klingon"})
    with serve(answer) as server, pytest.raises(ModelError) as caught:
        client(server)(QUESTION)
    assert caught.value.kind == kind
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_an_answer_with_another_type_or_a_broken_byte_is_read(client):
    body = json.dumps(reply(HELLO).body).encode().replace(b"hello", b"h\xffllo")
    with serve(Answer(body=body, headers={"Content-Type": "text/plain"})) as server:
        assert client(server)(QUESTION).text == HELLO.replace("e", "\ufffd", 1).replace(
            "Functions", "Functions"
        )


@pytest.mark.parametrize("usage", [
    {"prompt_tokens": 10**30, "completion_tokens": 1}, {"prompt_tokens": -5, "completion_tokens": -10**9},
    {"prompt_tokens": "9", "completion_tokens": 1}, {"prompt_tokens": True, "completion_tokens": 1},
    {"prompt_tokens": float("nan"), "completion_tokens": 1}, {"prompt_tokens": float("inf")}, {}, [], "many",
])  # fmt: skip
def test_usage_that_cannot_be_true_is_estimated(client, usage):
    asked = estimate(QUESTION.messages, QUESTION.keys)
    budget = Budget(dollars=1.0, price=Price(1, 1))
    with serve(reply(HELLO, usage=usage)) as server:
        answer = client(server, budget=budget)(QUESTION)
    assert answer.estimated
    assert budget.used == Usage(asked, -(-len(HELLO) // 2), 1)


def test_thoughts_and_cut_off_answers_count_where_no_usage_is_reported(client):
    budget = Budget()
    with serve(reply(HELLO, usage=None, reasoning="x" * 1000)) as server:
        client(server, budget=budget)(QUESTION)
    assert budget.used.completion_tokens >= 500
    budget = Budget()
    with (
        serve(reply("", usage=None, finish_reason="length", reasoning="x")) as server,
        pytest.raises(ModelError),
    ):
        client(server, budget=budget, max_tokens=300)(QUESTION)
    assert budget.used.completion_tokens == 600


ESCAPES = "\x1b[31mred\x1b]0;title\x07 \x9b2J \u202egnp.exe\x00\x7f"


def test_what_a_terminal_obeys_is_printed_nowhere(client, said, tmp_path):
    assert printable(f"a\tb\r\n{ESCAPES}") == "a\tb\n[31mred]0;title 2J gnp.exe"
    script = [
        status(400, ESCAPES),
        encoder_reply(SOURCE.replace("return", f"return  # {ESCAPES}"), model=ESCAPES),
        status(401, ESCAPES),
        reply(None, refusal=ESCAPES),
        reply(None, refusal=ESCAPES),
        Answer(403, body=f"<html><title>{ESCAPES}</title>"),
    ]
    ledger, texts = Ledger(tmp_path / "calls.jsonl"), []
    with serve(*script) as server:
        ask = client(server, ledger=ledger)
        answer = ask(QUESTION)
        texts += [answer.model, read_reply(answer.text)["Functions"].replace("\n", "")]
        for _ in range(3):
            with pytest.raises(ModelError) as caught:
                ask(QUESTION)
            texts.append(str(caught.value))
    texts += [*said, *ledger.path.read_text("utf-8").splitlines()]
    assert len(texts) == 2 + 3 + 1 + 6
    assert all(text.isprintable() and "\u202e" not in text for text in texts)
    with pytest.raises(LareError, match=r"model: .* cannot be printed"):
        Server(f"gpt{ESCAPES}")


def test_a_page_of_html_is_summed_up(client):
    page = "<!DOCTYPE html><html><head><title>502 Bad\nGateway</title></head>" + "<p>nginx</p>" * 999
    answer = Answer(404, body=page, headers={"Content-Type": "text/html"})
    words = r"answered 404: a page of HTML \(502 Bad Gateway\); check"
    with serve(answer) as server, pytest.raises(ModelError, match=words) as caught:
        client(server)(QUESTION)
    assert len(str(caught.value)) < 300


# Where keys go


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"base_url": f"https://user:{KEY}@host/v1"}, "--key-variable"),
        ({"base_url": f"https://host/v1?api_key={KEY}"}, "--key-variable"),
        ({"base_url": f"https://host/v1#{KEY}"}, "--key-variable"),
        ({"base_url": f"user:{KEY}@host"}, "--key-variable"),
        ({"base_url": "http://host/v1\n"}, "is not a URL"),
        ({"base_url": "http://ho st/v1"}, "is not a URL"),
        ({"base_url": "file:///etc/passwd"}, "is not a URL"),
        ({"base_url": "http://host:0/v1"}, "is not a URL"),
        ({"base_url": "http://[::1/v1"}, "is not a URL"),
        ({"key_variable": KEY}, "not the name of an environment variable"),
        ({"reasoning_effort": "low\x1b"}, "reasoning_effort"),
        ({"reasoning_effort": ""}, "reasoning_effort"),
    ],
)
def test_a_secret_in_the_wrong_place_is_refused_and_not_repeated(settings, words):
    with pytest.raises(LareError, match=words) as caught:
        connect(Server("m", **{"base_url": "http://127.0.0.1:1/v1", **settings}))
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_url_with_a_key_in_the_environment_is_refused(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", f"https://host/v1?key={KEY}")
    with pytest.raises(LareError, match="base_url") as caught:
        connect(Server("m"))
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("number", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_server_is_not_followed(client, monkeypatch, number):
    monkeypatch.setenv("MINE", KEY)
    with serve(reply(HELLO)) as other:
        place = other.url.replace("http://", "http://me:secret@") + "/chat/completions?token=secret"
        with serve(Answer(number, body="", headers={"Location": place})) as server:
            with pytest.raises(ModelError, match=f"redirects to {other.url}/chat/completions,") as caught:
                client(server, key_variable="MINE")(QUESTION)
            assert len(server.requests) == 1
        assert other.requests == []
    assert "secret" not in str(caught.value)


def test_a_redirect_on_the_same_server_is_followed(client):
    def behaviour(body):
        return (
            Answer(307, body="", headers={"Location": "/v1/chat/completions"})
            if first.pop()
            else reply(HELLO)
        )

    first = [False, True]
    with serve(behaviour) as server:
        assert client(server)(QUESTION).text == HELLO
    circle = Answer(308, body="", headers={"Location": "/v1/chat/completions"})
    with serve(circle) as server, pytest.raises(ModelError, match="redirects in circles"):
        client(server)(QUESTION)


def test_nothing_that_is_meant_for_openai_goes_elsewhere(client, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_ADMIN_KEY", KEY)
    monkeypatch.setenv("OPENAI_ORG_ID", "my-organisation")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "my-project")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Gateway-Token: my-token")
    with serve(reply(HELLO)) as server:
        client(server)(QUESTION)
        assert not {KEY, "my-organisation", "my-project", "my-token"} & set(server.headers[0].values())
        assert KEY not in str(server.headers[0])
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)  # this one is named for the key
        connect(Server("m"))(QUESTION)
        assert server.headers[1]["openai-organization"] == "my-organisation"


@pytest.mark.parametrize(
    ("place", "warned"),
    [
        ("http://models.example/v1", True),
        ("http://192.168.0.7:8000/v1", True),
        ("https://models.example/v1", False),
        ("http://localhost:8000/v1", False),
        ("http://127.8.9.1/v1", False),
        ("http://[::1]:8000/v1", False),
    ],
)
def test_a_key_that_travels_unencrypted_is_a_warning(client, said, monkeypatch, place, warned):
    monkeypatch.setenv("MINE", KEY)
    client(place, key_variable="MINE")
    assert len(said) == warned
    assert KEY not in str(said)
    client(place)  # without a key there is nothing to warn about
    assert len(said) == warned


# Connections


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize(
    ("place", "words", "kind"),
    [
        (lambda: f"http://127.0.0.1:{free_port()}/v1", "cannot connect to .*is the server up", "unreachable"),
        (lambda: "http://no-such-host.invalid/v1", "no address for 'no-such-host.invalid'", "unreachable"),
    ],
)
def test_a_server_that_is_not_there(client, place, words, kind):
    with pytest.raises(ModelError, match=words) as caught:
        client(place(), timeout_s=5)(QUESTION)
    assert caught.value.kind == kind


def test_https_where_http_is_spoken(client):
    with serve(reply(HELLO)) as server, pytest.raises(ModelError, match="does not speak TLS; write http://"):
        client(server.url.replace("http://", "https://"), timeout_s=5)(QUESTION)


def test_a_certificate_that_nobody_signed(client, tmp_path):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-out", str(certificate), "-keyout", str(key)], capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("openssl makes no certificate here")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with serve(reply(HELLO)) as server:
        server._http.socket = context.wrap_socket(server._http.socket, server_side=True)
        with pytest.raises(ModelError, match=r"certificate of .* is not valid .*SSL_CERT_FILE") as caught:
            client(server.url.replace("http://", "https://"), timeout_s=5)(QUESTION)
    assert caught.value.kind == "rejected"
    assert server.requests == []


def test_a_proxy_that_cannot_be_used_is_named_without_its_password(client, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "gopher://me:secret@proxy:1")
    with pytest.raises(LareError, match=r"proxy: .*ALL_PROXY") as caught:
        client("http://models.example/v1")
    assert "secret" not in str(caught.value)


# Nothing that was paid for is lost


def test_an_answer_that_cannot_be_read_is_recorded(client, tmp_path):
    with serve(reply("no code in here")) as server:
        recorded(client(server), "m", tmp_path)(QUESTION)
    assert recorded(None, "m", tmp_path)(QUESTION).text == "no code in here"


def test_a_record_that_cannot_be_written_stops_before_anything_is_paid(client, tmp_path):
    (tmp_path / "record").write_text("")
    with serve(reply(HELLO)) as server:
        with pytest.raises(LareError, match="record: cannot write"):
            recorded(client(server), "m", tmp_path / "record")
        assert server.requests == []
