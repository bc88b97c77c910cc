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
from latent_reward.errors import LareError
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

    Raises:
        LareError: the folder cannot be made or, for a replay, does not exist. The returned function raises it if
            ``ask`` does or if a replayed question has no reply.
    """
    try:
        if ask is not None:
            folder.mkdir(parents=True, exist_ok=True)
        elif not folder.is_dir():
            raise LareError(
                f"replay: there is no record in {folder}; run once without replay, or correct the path"
            )
    except OSError as error:
        raise LareError(f"record: cannot make {folder}: {error}; choose another folder") from error

    def answer(request: Request) -> Reply:
        reply, damage = _look_up(folder, request, model)
        if reply is None:
            if ask is None:
                raise LareError(_missing(request, model, folder, damage))
            if damage:
                warn(f"{damage}; the question is asked again and the file replaced")
            reply = ask(request)
            write(folder, request, model, reply)
        elif ledger is not None:
            ledger.write(
                purpose=request.purpose, draw=request.draw, index=request.index, model=reply.model,
                prompt_tokens=reply.prompt_tokens, completion_tokens=reply.completion_tokens,
                estimated=reply.estimated, cost=0.0, cached=True, outcome="ok",
            )  # fmt: skip
        return reply

    return answer


def write(folder: Path, request: Request, model: str, reply: Reply) -> Path:
    """Record a reply atomically, even if several threads or processes write it at the same time.

    Raises:
        LareError: the file cannot be written.
    """
    stored = {name: getattr(reply, name) for name in _STORED}
    content = {"question": _question(request, model), "reply": stored, "digest": _digest(stored)}
    path = folder / f"{key_of(request, model)}.json"
    try:
        write_text(path, to_json(content, indent=1))
    except OSError as error:
        raise LareError(
            f"record: cannot write {path}: {error}; make room or choose another folder"
        ) from error
    return path


def _missing(request: Request, model: str, folder: Path, damage: str | None) -> str:
    what = damage or f"replay: {folder} holds no reply to this question"
    return (
        f"{what}: purpose {request.purpose}, draw {request.draw}, candidate {request.index}, temperature "
        f"{request.temperature:g}, model {model}, key {key_of(request, model)[:12]}…; run once without replay, "
        "or use the task, goal, model and settings of the record"
    )


def _question(request: Request, model: str) -> dict:
    return {
        "messages": [asdict(each) for each in request.messages],
        "model": model,
        "temperature": float(request.temperature),
        "draw": request.draw,
        "index": request.index,
        "keys": list(request.keys),
    }


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
        return None, f"record: {path} is damaged ({' '.join(str(error).split())[:100]})"
