"""The messages of the dialogue, and the protocol that selects them.

The texts are files in ``prompts/``; a task may have its own role instruction.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template

from latent_reward.design.llm.ask import Message, check_temperature
from latent_reward.errors import LareError
from latent_reward.task.fields import Variant
from latent_reward.task.task import Task, default_role

_TEXTS = Path(__file__).parent / "prompts"
MAX_PROBLEM = 1500
MAX_ATTEMPT = 60_000  # a longer answer is no encoder, and the whole of it would only be paid for again


@dataclass(frozen=True)
class Protocol:
    """How an encoder is asked for."""

    name: str  # as it appears on the card
    candidates: int = 5  # number of independent answers; with 1 nothing is merged ("no self-prompting")
    temperature: float = 1.0  # of the candidates
    merge_temperature: float = 0.3  # of the merged answer and of every repair
    repairs: int = 5  # how often an answer that fails its checks is sent back
    language: bool = True  # describe in the question what passes the checks
    verify_candidates: bool = True  # check the candidates, and merge only those that pass
    separate_messages: bool = True  # one message per candidate, instead of all in one list
    all_failures: bool = True  # send back every failed check with its values, instead of the last one
    whole_history: bool = True  # a repair sees all earlier attempts, instead of the newest
    fall_back: bool = True  # if the merged answer cannot be repaired, take the best candidate that passed

    def __post_init__(self):
        """Raise LareError for a number out of range."""
        if not 1 <= self.candidates <= 100:
            raise LareError(f"n: {self.candidates} candidates are not possible; choose 1 to 100")
        if not 0 <= self.repairs <= 100:
            raise LareError(f"repairs: {self.repairs} is outside 0 to 100; choose a number between")
        for temperature in (self.temperature, self.merge_temperature):
            check_temperature(temperature)


PROTOCOLS = {
    "improved": Protocol("improved"),
    "paper": Protocol(
        "paper",
        language=False,
        verify_candidates=False,
        separate_messages=False,
        all_failures=False,
        whole_history=False,
        fall_back=False,
    ),
}


def find_protocol(name: str) -> Protocol:
    """The protocol called ``name``; LareError if there is none."""
    if name not in PROTOCOLS:
        raise LareError(f"protocol: there is no {name!r}; choose {' or '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def unverified(protocol: Protocol) -> Protocol:
    """The same without self-verification: no candidate is checked, and no answer is repaired or replaced."""
    return replace(protocol, repairs=0, verify_candidates=False, fall_back=False)


def opening(task: Task, goal: Variant, protocol: Protocol, *, reward: bool = False) -> tuple[Message, ...]:
    """The question that all candidates answer: goal, observation form, action form, role instruction.

    ``reward`` asks for a single reward instead of several factors.
    """
    words = " ".join(task.goal[goal].split())
    forms = [f"TASK: {words}", f"OBSERVATION FORM:\n{task.describe('observation')}"]
    if task.action:
        forms.append(f"ACTION FORM:\n{task.describe('action')}")
    role = _text("reward") if reward and task.role == default_role() else task.role
    forms.append(f"ROLE INSTRUCTION:\n{role}")
    if protocol.language:
        forms.append(f"LANGUAGE:\n{_text('language')}")
    return (Message("user", "\n\n".join(forms)),)


def merging(
    start: tuple[Message, ...], replies: Sequence[str], protocol: Protocol, *, reward: bool = False
) -> tuple[Message, ...]:
    """The conversation that asks the model to merge ``replies`` into one answer.

    Roles alternate, as some models require: each further answer follows a request for it.
    """
    turns = [Message("assistant", repr(list(replies)))]
    if protocol.separate_messages:
        turns = [Message("assistant", replies[0])]
        for reply in replies[1:]:
            turns += [Message("user", _text("again")), Message("assistant", reply)]
    return (*start, *turns, Message("user", _text("merge_reward" if reward else "merge")))


def repairing(
    start: tuple[Message, ...], attempts: Sequence[tuple[str, Sequence[str]]], protocol: Protocol
) -> tuple[Message, ...]:
    """The conversation that sends a failed answer back; ``attempts`` are pairs of an answer and its problems, the
    newest last.
    """
    turns: list[Message] = []
    for reply, problems in attempts if protocol.whole_history else attempts[-1:]:
        shown = [each if len(each) <= MAX_PROBLEM else each[:MAX_PROBLEM] + " …" for each in problems]
        if protocol.all_failures:
            text = _text("repair", problems="\n".join(f"- {each}" for each in shown))
        else:
            text = _text("repair_paper", problems=shown[-1])
        shown_reply = reply if len(reply) <= MAX_ATTEMPT else reply[:MAX_PROBLEM] + " …"
        turns += [Message("assistant", shown_reply), Message("user", text)]
    return (*start, *turns)


def _text(name: str, **values: str) -> str:
    text = (_TEXTS / f"{name}.txt").read_text(encoding="utf-8").strip()
    return Template(text).substitute(values) if values else text
