"""What a language model reads: the paper's order of messages, and ours."""

import dataclasses
import re

import pytest

from latent_reward.design.llm.ask import Message
from latent_reward.design.prompt import PROTOCOLS, Protocol, find_protocol, merging, opening, repairing
from latent_reward.encoder.card import Space
from latent_reward.errors import LareError
from latent_reward.sealing.examine import examine
from latent_reward.sealing.language import vocabulary
from latent_reward.sealing.verify import payload_of
from latent_reward.task.load import load_description

TASK = load_description("Reacher-v5")
PAPER, IMPROVED = PROTOCOLS["paper"], PROTOCOLS["improved"]
START = (Message("user", "question"),)


def roles(messages):
    return [message.role for message in messages]


@pytest.mark.parametrize("goal", ["plain", "paper"])
def test_the_question_has_task_forms_and_role_in_one_message(goal):
    (message,) = opening(TASK, goal, PAPER)
    assert message.role == "user"
    heads = re.findall(r"^([A-Z ]+):", message.content, re.MULTILINE)
    assert heads == ["TASK", "OBSERVATION FORM", "ACTION FORM", "ROLE INSTRUCTION"]
    assert " ".join(TASK.goal[goal].split()) in message.content
    for each in (*TASK.observation, *TASK.action):
        assert each.name in message.content
    assert message.content.endswith(TASK.role)


def test_only_the_improved_protocol_states_the_language():
    assert "LANGUAGE:" in opening(TASK, "plain", IMPROVED)[0].content
    assert "LANGUAGE:" not in opening(TASK, "plain", PAPER)[0].content


def test_what_the_language_text_advises_passes_and_what_it_advises_against_does_not():
    text = opening(TASK, "plain", IMPROVED)[0].content.partition("LANGUAGE:")[2]
    for name in re.findall(r"np\.(\w+)", text):
        assert name in vocabulary.FUNCTIONS
    advised = """
import math
def helper(x):
    return np.clip(x, -math.pi, math.pi)
def evaluation_func(observation, action):
    rest = observation.copy()
    rest[:, 0] = helper(rest[:, 0])
    rest[rest < 0] = 0
    first = rest[:, 0:1]
    first += 1.0
    push = [np.abs(action[:, i : i + 1]) for i in range(action.shape[1])]
    # how fast
    speed = np.select([(first > 1) & (first < 2), first < 0], [first, 2 * first], 0.5 * observation[:, 3:4])
    near = np.sum(np.where(rest > 0, np.exp(-rest), 0.0), axis=1, keepdims=True)
    lean = np.zeros((observation.shape[0], 1))
    for i in range(observation.shape[0]):
        if observation[i, 1] > 0.5:
            lean[i, 0] = 1.0
    effort = push[0]
    return [speed, near, lean, effort]
"""
    assert passes(advised) == (True, ["speed", "near", "lean", "effort"])
    for against in (
        "import os\n    a = observation[:, 0:1]",
        "a = observation[:, 0:1]\n    while False:\n        a = a + 1",
        "a = observation[:, 0:1] + observation[observation > 0].sum()",
        "a = observation[:, 0:1]\n    if np.any(a > 0):\n        a = a * 2",
    ):
        assert not passes(f"def evaluation_func(observation, action):\n    {against}\n    return [a]\n")[0]


def passes(source):
    """Whether a source passes the checks, and the names of its latents; without the lock, as it is ours."""
    report = examine(payload_of(source, Space.unbounded(4, 2)))
    return all(passed for _, passed, _ in report["checks"]), report.get("latent_names")


def test_a_single_reward_is_asked_for_in_its_own_words():
    text = opening(TASK, "plain", PAPER, reward=True)[0].content
    assert "[reward]" in text
    assert TASK.role not in text
    own = dataclasses.replace(TASK, role="My own words.")
    assert opening(own, "plain", PAPER, reward=True)[0].content.endswith("My own words.")


def test_the_papers_merge_is_one_message_with_the_list():
    messages = merging(START, ["a", "b'"], PAPER)
    assert roles(messages) == ["user", "assistant", "user"]
    assert messages[1].content == "['a', \"b'\"]"


def test_our_merge_has_one_message_per_candidate_and_turns_alternate():
    messages = merging(START, ["a", "b", "c"], IMPROVED)
    assert roles(messages) == ["user", "assistant"] * 3 + ["user"]
    assert [message.content for message in messages if message.role == "assistant"] == ["a", "b", "c"]
    assert messages[0] == START[0]


def test_the_paper_sends_back_the_last_problem_of_the_newest_attempt():
    messages = repairing(START, [("first", ["p1"]), ("second", ["p2", "p3"])], PAPER)
    assert roles(messages) == ["user", "assistant", "user"]
    assert messages[1].content == "second"
    assert "p3" in messages[2].content
    assert "p1" not in messages[2].content
    assert "p2" not in messages[2].content


def test_we_send_back_every_problem_of_every_attempt():
    messages = repairing(START, [("first", ["p1"]), ("second", ["p2", "p3"])], IMPROVED)
    assert roles(messages) == ["user", "assistant", "user", "assistant", "user"]
    assert "- p1" in messages[2].content
    assert "- p2\n- p3" in messages[4].content


def test_a_problem_with_dollar_signs_and_of_any_length_is_sent_as_it_is():
    (*_, message) = repairing(START, [("first", ["costs $5 {x}", "y" * 9000])], IMPROVED)
    assert "costs $5 {x}" in message.content
    assert len(message.content) < 2500


def test_the_protocols():
    assert (PAPER.candidates, PAPER.temperature, PAPER.merge_temperature, PAPER.repairs) == (5, 1.0, 0.3, 5)
    different = [
        field.name
        for field in dataclasses.fields(Protocol)
        if getattr(PAPER, field.name) != getattr(IMPROVED, field.name)
    ]
    assert different == [
        "name", "language", "verify_candidates", "separate_messages", "all_failures", "whole_history",
        "fall_back",
    ]  # fmt: skip


@pytest.mark.parametrize("wrong", [{"candidates": 0}, {"repairs": -1}, {"temperature": float("nan")}])
def test_senseless_numbers_are_refused(wrong):
    with pytest.raises(LareError, match="choose"):
        Protocol("mine", **wrong)


def test_an_unknown_protocol_is_refused():
    with pytest.raises(LareError, match="improved or paper"):
        find_protocol("best")
