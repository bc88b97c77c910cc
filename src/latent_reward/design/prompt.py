"""The messages of the dialogue: from a task in words to what a language model reads.

The texts are files in ``prompts/``, one for each purpose; a task may bring its own role instruction. Which of them
are used, and how a conversation grows, is the protocol.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template

from latent_reward.design.ask import Message
from latent_reward.errors import LareError
from latent_reward.task.fields import Variant
from latent_reward.task.task import Task, default_role

_TEXTS = Path(__file__).parent / "prompts"
MAX_PROBLEM = 1500


@dataclass(frozen=True)
class Protocol:
    """How an encoder is asked for.

    Attributes:
        name: what the card says.
        candidates: n independent answers; with 1 there is nothing to merge ("no self-prompting").
        temperature: of the candidates.
        merge_temperature: of the merged answer and of every repair.
        repairs: how often an answer that fails its checks is sent back.
        language: tell the model what passes the checks, before it writes.
        verify_candidates: check the candidates, and merge only those that pass.
        separate_messages: each candidate is a message of its own, instead of all in one list.
        all_failures: send back every failed check with its values, instead of the last one.
        whole_history: a repair sees all earlier attempts, instead of the newest.
        fall_back: if the merged answer cannot be repaired, take the best candidate that passed.
    """

    name: str
    candidates: int = 5
    temperature: float = 1.0
    merge_temperature: float = 0.3
    repairs: int = 5
    language: bool = True
    verify_candidates: bool = True
    separate_messages: bool = True
    all_failures: bool = True
    whole_history: bool = True
    fall_back: bool = True

    def __post_init__(self):
        """Raises LareError for a number that makes no sense."""
        if not 1 <= self.candidates <= 100:
            raise LareError(f"n: {self.candidates} candidates cannot be asked for; choose 1 to 100")
        if not 0 <= self.repairs <= 100:
            raise LareError(f"repairs: {self.repairs} is outside 0 to 100; choose a number between")
        for temperature in (self.temperature, self.merge_temperature):
            if not (math.isfinite(temperature) and 0 <= temperature <= 2):
                raise LareError(f"temperature: {temperature} is outside 0 to 2; choose a number between")


_IMPROVED = Protocol("improved")
PROTOCOLS = {
    "improved": _IMPROVED,
    "paper": replace(
        _IMPROVED,
        name="paper",
        language=False,
        verify_candidates=False,
        separate_messages=False,
        all_failures=False,
        whole_history=False,
        fall_back=False,
    ),
}


def find_protocol(name: str) -> Protocol:
    """The protocol called ``name``.

    Raises:
        LareError: there is none.
    """
    if name not in PROTOCOLS:
        raise LareError(f"protocol: there is no {name!r}; choose {' or '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def opening(task: Task, goal: Variant, protocol: Protocol, *, reward: bool = False) -> tuple[Message, ...]:
    """The question that every candidate answers: goal, observation form, action form, role instruction.

    With ``reward`` a single reward is asked for instead of several factors.
    """
    forms = [
        f"TASK: {' '.join(task.goal[goal].split())}",
        f"OBSERVATION FORM:\n{task.describe('observation')}",
    ]
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
    """The conversation in which the model is asked to make one answer out of ``replies``.

    Turns alternate, as some models demand: between two answers stands the request for another one.
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
    """The conversation in which a failed answer is sent back. ``attempts`` are pairs of an answer and its
    problems, the newest last.
    """
    turns: list[Message] = []
    for reply, problems in attempts if protocol.whole_history else attempts[-1:]:
        shown = [each if len(each) <= MAX_PROBLEM else each[:MAX_PROBLEM] + " …" for each in problems]
        if protocol.all_failures:
            text = _text("repair", problems="\n".join(f"- {each}" for each in shown))
        else:
            text = _text("repair_paper", problems=shown[-1])
        turns += [Message("assistant", reply), Message("user", text)]
    return (*start, *turns)


def _text(name: str, **values: str) -> str:
    text = (_TEXTS / f"{name}.txt").read_text(encoding="utf-8").strip()
    return Template(text).substitute(values) if values else text
