"""Talking to a model, against a real HTTP server on loopback through the real client library."""

import pytest
from model_server import reply, serve, status

from latent_reward.design.ask import Message, Request
from latent_reward.design.llm import Server, connect

QUESTION = Request((Message("user", "Write an encoder."),), temperature=0.3)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "LARE_PRICES", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_a_good_reply():
    with serve(reply("hello", usage=(7, 3))) as server:
        answer = connect(Server("m", server.url))(QUESTION)
    assert (answer.text, answer.model, answer.prompt_tokens, answer.completion_tokens) == (
        "hello",
        "served-model",
        7,
        3,
    )
    assert not answer.estimated
    (body,) = server.requests
    assert body["messages"] == [{"role": "user", "content": "Write an encoder."}]
    assert body["temperature"] == 0.3
    assert body["response_format"]["type"] == "json_schema"
    assert body["max_tokens"] == 4096


def test_waits_as_long_as_the_server_says():
    slept = []
    with serve(status(429, "slow down", {"Retry-After": "7"}), status(500, "oops"), reply("hello")) as server:
        answer = connect(Server("m", server.url), sleep=slept.append)(QUESTION)
    assert answer.text == "hello"
    assert slept[0] == 7
    assert 1 <= slept[1] <= 2
