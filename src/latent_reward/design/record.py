"""A record of replies, so that the same question is paid for once and a design can be run again without a model.

One JSON file per reply, named by what was asked: messages, model, temperature, draw, candidate and form of the
answer. Where the model is served and with which key is not part of the question.
"""

import hashlib
import json
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from latent_reward.design.ask import Ask, Reply, Request
from latent_reward.design.budget import Ledger
from latent_reward.errors import LareError

_STORED = ("text", "model", "prompt_tokens", "completion_tokens", "estimated")


def key_of(request: Request, model: str) -> str:
    """The SHA-256 of the question: equal exactly if everything that may change the answer is equal."""
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

    Only answers are recorded: a call that raised leaves nothing. With ``ask=None`` the record is replayed, and
    a question it does not hold is an error. A damaged file counts as missing; ``warn`` is told.

    Raises:
        LareError: (now) the folder cannot be made or, to replay, does not exist; (when asked) what ``ask``
            raises, or a replayed question has no reply.
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
    """Records a reply: the whole file or nothing, whoever else writes it at the same time.

    Raises:
        LareError: the file cannot be written.
    """
    stored = {name: getattr(reply, name) for name in _STORED}
    content = {"question": _question(request, model), "reply": stored, "digest": _digest(stored)}
    path, draft = _path(folder, request, model), None
    try:
        with tempfile.NamedTemporaryFile(
            "w", dir=folder, prefix=".", suffix=".part", delete=False, encoding="utf-8"
        ) as file:
            draft = Path(file.name)
            json.dump(content, file, ensure_ascii=False, indent=1)
        draft.chmod(0o644)
        draft.replace(path)
    except OSError as error:
        raise LareError(
            f"record: cannot write {path}: {error}; make room or choose another folder"
        ) from error
    finally:
        if draft is not None:
            draft.unlink(missing_ok=True)
    return path


def _path(folder: Path, request: Request, model: str) -> Path:
    return folder / f"{key_of(request, model)}.json"


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
    """The recorded reply if there is one, and what is wrong with its file if something is."""
    path = _path(folder, request, model)
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
