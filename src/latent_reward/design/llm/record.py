"""A record of replies: each question is paid for once, and a design can be repeated without a model.

One JSON file per reply, named by the question: messages, model, temperature, draw, candidate and keys of the answer.
The address of the server and the API key are not part of the question. A file that was edited or damaged is an error,
so that nothing is paid for again, or replaced, unasked.
"""

import hashlib
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pydantic

from latent_reward.design.llm.ask import Ask, Reply, Request
from latent_reward.design.llm.budget import Ledger
from latent_reward.errors import LareError, disk_errors
from latent_reward.files import to_json, write_text
from latent_reward.reading import Count, parse_json, read_bytes, validated

_LARGEST = 50_000_000  # bytes; a reply has at most 10 million


@pydantic.dataclasses.dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid", strict=True))
class _Stored:
    """What is kept of a reply."""

    text: str
    model: str
    prompt_tokens: Count
    completion_tokens: Count
    estimated: bool


@pydantic.dataclasses.dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid", strict=True))
class _Content:
    """One file of a record."""

    question: dict[str, Any]
    reply: _Stored
    digest: str


def key_of(request: Request, model: str) -> str:
    """The SHA-256 of everything in the question that may change the answer."""
    return _digest(_question(request, model))


def recorded(
    ask: Ask | None,
    model: str,
    folder: Path,
    *,
    ledger: Ledger | None = None,
) -> Ask:
    """``ask`` with a record in ``folder``: a known question is answered from it, a new answer is added.

    Only answers are recorded, never failures. With ``ask=None`` the record is replayed, and a question that is not
    in it is an error.

    Raises LareError if the folder cannot be written or, for a replay, does not exist; the returned function raises it
    if ``ask`` does, a replayed question has no reply, or the file of its reply was changed.
    """
    if ask is not None:
        with disk_errors(f"record: cannot write {folder}", "choose another folder"):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()  # before an answer is paid for
    elif not folder.is_dir():
        raise LareError(
            f"replay: there is no record in {folder}; run once without replay, or correct the path"
        )

    def answer(request: Request) -> Reply:
        reply = _look_up(folder, request, model)
        if reply is None:
            if ask is None:
                raise LareError(
                    f"replay: {folder} holds no reply to this question: purpose {request.purpose}, "
                    f"draw {request.draw}, candidate {request.index}, temperature {request.temperature:g}, model "
                    f"{model}, key {key_of(request, model)[:12]}…; run once without replay, or use the task, goal, "
                    "model and settings of the record"
                )
            reply = ask(request)
            write(folder, request, model, reply)
        elif ledger is not None:
            ledger.write(request, reply.model, reply, "ok")
        return reply

    return answer


def write(folder: Path, request: Request, model: str, reply: Reply) -> Path:
    """Record a reply atomically, even if several threads or processes write it; LareError if that fails."""
    stored = {name: getattr(reply, name) for name in _Stored.__dataclass_fields__}
    content = {"question": _question(request, model), "reply": stored, "digest": _digest(stored)}
    path = folder / f"{key_of(request, model)}.json"
    with disk_errors(f"record: cannot write {path}", "make room or choose another folder"):
        write_text(path, to_json(content, indent=1))
    return path


def _question(request: Request, model: str) -> dict:
    question = asdict(request) | {"model": model, "temperature": float(request.temperature)}
    del question["purpose"]
    return question | {name: list(question[name]) for name in ("messages", "keys")}  # as JSON gives them back


def _digest(value: dict) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _look_up(folder: Path, request: Request, model: str) -> Reply | None:
    """The recorded reply, None if there is none; LareError if its file is not as it was written."""
    path = folder / f"{key_of(request, model)}.json"
    if not path.exists():
        return None
    try:
        content = validated(_Content, parse_json(read_bytes(path, _LARGEST), "it", ""), "it", "")
        if content.question != _question(request, model):
            raise LareError("it holds another question")
        if _digest(asdict(content.reply)) != content.digest:
            raise LareError("its digest does not fit")
    except LareError as error:
        reason = f"{error}".partition(";")[0]
        raise LareError(
            f"record: {path} is damaged or was edited ({reason}); restore it, or delete it to ask (and pay for) its "
            "question again"
        ) from None
    return Reply(**asdict(content.reply), cost=0.0, cached=True)
