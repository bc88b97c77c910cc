"""Design an encoder: everything from a task in words to a sealed folder, resumable at any moment."""

import contextlib
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from latent_reward.design.anonymous import anonymous as shuffled
from latent_reward.design.ask import Ask, Reply, Request
from latent_reward.design.budget import Budget, Ledger, Usage, price_of
from latent_reward.design.dialogue import SELECTIONS, Candidate, Select, Table, converse
from latent_reward.design.episodes import Plan, prepare
from latent_reward.design.judge import Bench, as_json, figures, finite, write
from latent_reward.design.llm import Server, connect
from latent_reward.design.prompt import Protocol, find_protocol, opening
from latent_reward.design.record import recorded
from latent_reward.encoder.card import CARD
from latent_reward.encoder.encoder import Encoder, save, with_card
from latent_reward.errors import LareError
from latent_reward.sealing.lock import sandbox
from latent_reward.task.fields import VARIANTS
from latent_reward.task.leakage import hints
from latent_reward.task.task import AnyTask, find_description

Say = Callable[[str], object]
Choice = TypeVar("Choice", bound=str)


@dataclass(frozen=True)
class Spending:
    """Limits of tokens and of US dollars for one design; None is no limit."""

    tokens: int | None = None
    dollars: float | int | None = None


def design_encoder(
    task: AnyTask | str,
    *,
    model: str | Server,
    out: str | Path,
    draw: int = 0,
    protocol: Protocol | str = "improved",
    select: str = "merge",
    goal: str = "plain",
    reward: bool = False,
    anonymous: bool = False,
    spending: Spending = Spending(),
    record: str | Path | None = None,
    replay: bool = False,
    overwrite: bool = False,
    plan: Plan | None = None,
    limits: sandbox.Limits | None = None,
    say: Say = lambda text: None,
    judged: Callable[[Candidate], object] = lambda candidate: None,
) -> Encoder:
    """Asks a language model for an encoder of ``task``, verifies and seals it, and writes it to ``out``.

    Every reply is on disk before it is used, so that a design that was stopped goes on without paying again:
    call it with the same arguments.

    Args:
        task: a task, the name of a built-in one, or the path of a task file; with a slash and the name of the
            team if there are several (``competitive-pp/prey``)
        model: the name the server knows the model by, or a :class:`~latent_reward.design.llm.Server`
        out: a folder; it gets the sealed encoder, ``dialogue.json``, ``candidates/``, ``ledger.jsonl``
        draw: another number gives an independent encoder
        protocol: ``improved``, ``paper``, or a :class:`~latent_reward.design.prompt.Protocol`
        select: ``merge`` lets the model merge the candidates, ``best`` takes the one with the highest score,
            ``union`` all latents that do not repeat one another
        goal: which wording of the goal the model reads
        reward: ask for a single reward instead of latents (an encoder with one latent)
        anonymous: show the model shuffled fields under neutral names
        spending: limits that are never crossed
        record: folder of the recorded replies; ``out/record`` by default
        replay: ask nobody; every reply comes from the record
        overwrite: replace an encoder that is already in ``out``
        plan: how many episodes the candidates are scored on
        limits: time and memory of the locked process
        say: is told what happens, line by line
        judged: is told of each answer and its report

    Raises:
        LareError: nothing can be asked, or no answer passes its checks; says where the answers are.
    """
    described = find_description(task)[1]
    protocol = find_protocol(protocol) if isinstance(protocol, str) else protocol
    server = Server(model) if isinstance(model, str) else model
    out, record = Path(out), Path(record) if record else Path(out) / "record"
    chosen_by = _one_of("select", select, SELECTIONS)
    wording = _one_of("goal", goal, VARIANTS)
    _refuse(out, chosen_by, reward, overwrite, draw)
    shown, orders = shuffled(described, draw) if anonymous else (described, None)
    start = opening(shown, wording, protocol, reward=reward)
    play = prepare(task, plan)
    ledger = _fresh(out)
    price = price_of(server.model)
    budget = Budget(spending.tokens, spending.dollars, price)
    notes = _Notes(out / "dialogue.json", say)
    with _background(play) as episodes:  # before the client, which takes its time to be imported
        asked = None if replay else connect(server, budget, ledger)
        ask = notes.around(recorded(asked, server.model, record, ledger=ledger, warn=say))
        bench = Bench(described, shown, orders, episodes, out / "candidates", reward, limits, judged)
        table = Table(ask, bench.judge, bench.compose, draw, reward)
        try:
            chosen = converse(start, protocol, chosen_by, table)
        except LareError as error:
            kept = f"; {len(notes.entries)} answers are kept in {record}" if notes.entries else ""
            raise LareError(f"{error}{kept}") from None
    if chosen is None:
        last = bench.all[-1].problems[0] if bench.all and bench.all[-1].problems else "there is none"
        raise LareError(
            f"model: no answer of {server.model} passed its checks after {protocol.repairs} repairs (the last: "
            f"{last[:200]}); every answer and its report is in {bench.folder}; try another draw or model"
        )
    assert chosen.encoder is not None
    encoder = with_card(
        chosen.encoder,
        provenance=f"written by {server.model}",
        draw=draw,
        goal=goal,
        model=server.model,
        protocol=finite(asdict(protocol) | {"select": select, "reward": reward, "chosen": chosen.name}),
        usage=_usage(notes.entries, server.model),
        score=finite(figures(chosen.score)) if chosen.score else {},
        hygiene=tuple(f"{hint.field}: {hint.message}" for hint in hints(described, (wording,))),
    )
    write(out / "reply.json", as_json(chosen.text))
    save(encoder, out)
    return encoder


def _one_of(name: str, value: str, known: Sequence[Choice]) -> Choice:
    for each in known:
        if each == value:
            return each
    raise LareError(f"{name}: there is no {value!r}; choose one of {', '.join(map(str, known))}")


def _refuse(out: Path, select: Select, reward: bool, overwrite: bool, draw: int) -> None:
    """Raises LareError for what cannot work, before anything is asked or written."""
    if reward and select == "union":
        raise LareError("select: a union of rewards is no single reward; choose merge or best")
    if draw < 0:
        raise LareError(f"draw: {draw} is below 0; number the draws from 0")
    if (out / CARD).exists() and not overwrite:
        raise LareError(f"out: {out} already holds an encoder; choose another folder, or add --overwrite")


def _fresh(out: Path) -> Ledger:
    """Makes the folder ready; what an earlier attempt left is derived from the record and written anew."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(out / "candidates", ignore_errors=True)
    except OSError as error:
        raise LareError(f"out: cannot write {out} ({error.strerror}); choose a writable folder") from error
    return Ledger(out / "ledger.jsonl")


class _Notes:
    """The conversation so far, on disk after every answer."""

    def __init__(self, path: Path, say: Say):
        self.path, self.say = path, say
        self.entries: list[tuple[Request, Reply]] = []
        self._lock = threading.Lock()

    def around(self, ask: Ask) -> Ask:
        """``ask``, with every answer noted."""

        def noted(request: Request) -> Reply:
            reply = ask(request)
            with self._lock:
                self.entries.append((request, reply))
                write(self.path, as_json([_turn(*entry) for entry in self.entries]))
            place = f" {request.index + 1}" if request.purpose == "candidate" else ""
            place = f" {request.index}" if request.purpose == "repair" else place
            source = "from the record" if reply.cached else f"{reply.completion_tokens:,} tokens"
            self.say(f"{request.purpose}{place}: answered ({source})")
            return reply

        return noted


def _turn(request: Request, reply: Reply) -> dict[str, Any]:
    return {
        "purpose": request.purpose,
        "index": request.index,
        "draw": request.draw,
        "temperature": request.temperature,
        "messages": [asdict(message) for message in request.messages],
        "reply": reply.text,
        "model": reply.model,
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
    }


def _usage(entries: list[tuple[Request, Reply]], model: str) -> dict[str, Any]:
    """What the answers took when they were first given, whether or not they came from the record now."""
    used = Usage()
    for _, reply in entries:
        used = used.plus(Usage(reply.prompt_tokens, reply.completion_tokens, 1))
    price = price_of(model)
    dollars = None if price is None else price.cost(used.prompt_tokens, used.completion_tokens)
    return asdict(used) | {"dollars": dollars}


@contextlib.contextmanager
def _background(play):
    """Collects episodes in a thread while the model is asked; yields the function that waits for them."""
    stop, future = threading.Event(), Future()

    def work() -> None:
        try:
            future.set_result(play(stop))
        except BaseException as error:  # raised where the episodes are asked for
            future.set_exception(error)

    thread = threading.Thread(target=work, name="lare-episodes", daemon=True)
    thread.start()
    try:
        yield future.result
    finally:
        stop.set()
        thread.join()
