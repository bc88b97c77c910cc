"""A record of replies: each question is paid for once, and a design can be repeated without a model.

One JSON file per reply, named by the question: messages, model, temperature, draw, candidate and keys of the answer.
The address of the server and the API key are not part of the question.
"""

import hashlib
import json
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from latent_reward.design.llm.ask import Ask, Reply, Request
from latent_reward.design.llm.budget import Ledger
from latent_reward.errors import LareError, disk_errors, one_line
from latent_reward.files import to_json, write_text

_STORED = ("text", "model", "prompt_tokens", "completion_tokens", "estimated")


def key_of(request: Request, model: str) -> str:
    """The SHA-256 of everything in the question that may change the answer."""
    return _digest(_question(request, model))


def recorded(
    ask: Ask | None,
    model: str,
    folder: Path,
    *,
    ledger: Ledger | None = None,
    warn: Callable[[str], object] = warnings.warn,
) -> Ask:
    """``ask`` with a record in ``folder``: a known question is answered from it, a new answer is added.

    Only answers are recorded, never failures. With ``ask=None`` the record is replayed, and a question that is not
    in it is an error. A damaged file counts as missing; ``warn`` is called with the reason.

    Raises LareError if the folder cannot be made or, for a replay, does not exist; the returned function raises it if
    ``ask`` does or a replayed question has no reply.
    """
    if ask is not None:
        with disk_errors(f"record: cannot make {folder}", "choose another folder"):
            folder.mkdir(parents=True, exist_ok=True)
    elif not folder.is_dir():
        raise LareError(
            f"replay: there is no record in {folder}; run once without replay, or correct the path"
        )

    def answer(request: Request) -> Reply:
        reply, damage = _look_up(folder, request, model)
        if reply is None:
            if ask is None:
                raise LareError(
                    f"{damage or f'replay: {folder} holds no reply to this question'}: purpose {request.purpose}, "
                    f"draw {request.draw}, candidate {request.index}, temperature {request.temperature:g}, model "
                    f"{model}, key {key_of(request, model)[:12]}…; run once without replay, or use the task, goal, "
                    "model and settings of the record"
                )
            if damage:
                warn(f"{damage}; the question is asked again and the file replaced")
            reply = ask(request)
            write(folder, request, model, reply)
        elif ledger is not None:
            ledger.write(request, reply.model, reply, "ok")
        return reply

    return answer


def write(folder: Path, request: Request, model: str, reply: Reply) -> Path:
    """Record a reply atomically, even if several threads or processes write it; LareError if that fails."""
    stored = {name: getattr(reply, name) for name in _STORED}
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


def _look_up(folder: Path, request: Request, model: str) -> tuple[Reply | None, str | None]:
    """The recorded reply if there is one, and the damage to its file if there is any."""
    path = folder / f"{key_of(request, model)}.json"
    try:
        content = json.loads(path.read_text("utf-8"))
        if content["question"] != _question(request, model):
            raise ValueError("it holds another question")
        stored = content["reply"]
        if set(stored) != set(_STORED) or _digest(stored) != content["digest"]:
            raise ValueError("its digest does not fit")
        return Reply(**stored, cost=0.0, cached=True), None
    except FileNotFoundError:
        return None, None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        return None, f"record: {path} is damaged ({one_line(error)})"
