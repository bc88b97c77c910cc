"""Design an encoder, from a task in words to a sealed folder; a stopped design can be continued at any point."""

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from latent_reward.design.anonymous import anonymous as shuffled
from latent_reward.design.dialogue import SELECTIONS, Candidate, Roles, Select, converse
from latent_reward.design.episodes import Episodes, Recording
from latent_reward.design.judge import Evaluator, figures, reply_json
from latent_reward.design.llm.ask import Ask, Reply, Request
from latent_reward.design.llm.budget import Budget, Ledger, Usage, price_of
from latent_reward.design.llm.client import Server, connect
from latent_reward.design.llm.record import recorded
from latent_reward.design.play.collect import prepare
from latent_reward.design.prompt import Protocol, find_protocol, opening
from latent_reward.design.score import training_view
from latent_reward.encoder.card import CARD
from latent_reward.encoder.encoder import Encoder, save, with_card
from latent_reward.errors import LareError
from latent_reward.files import to_json, write_text
from latent_reward.sealing.lock import sandbox
from latent_reward.task.fields import VARIANTS
from latent_reward.task.leakage import leaks
from latent_reward.task.load import find_description
from latent_reward.task.task import AnyTask

Say = Callable[[str], object]
Choice = TypeVar("Choice", bound=str)


@dataclass(frozen=True)
class Spending:
    """Limits on the tokens and US dollars of one design; None means no limit."""

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
    recording: Recording | None = None,
    limits: sandbox.Limits | None = None,
    say: Say = lambda text: None,
    on_judged: Callable[[Candidate], object] = lambda candidate: None,
) -> Encoder:
    """Ask a language model for an encoder of ``task``, verify and seal it, and write it to ``out``.

    Every reply is written to disk before it is used. To continue a design that was stopped, call it with the same
    arguments; nothing is paid for twice.

    Args:
        task: a task, the name of a built-in one, or the path of a task file; with a slash and the name of the
            team if there are several (``competitive-pp/prey``).
        model: the name the server knows the model by, or a :class:`~latent_reward.design.llm.client.Server`.
        out: a folder for the sealed encoder, ``dialogue.json``, ``candidates/`` and ``ledger.jsonl``.
        draw: each number gives an independent encoder.
        protocol: ``improved``, ``paper``, or a :class:`~latent_reward.design.prompt.Protocol`.
        select: ``merge`` lets the model merge the candidates, ``best`` takes the one with the highest score,
            ``union`` takes all latents without duplicates.
        goal: the wording of the goal that the model reads.
        reward: ask for a single reward instead of latents (an encoder with one latent).
        anonymous: show the model shuffled fields under neutral names.
        spending: limits that are never exceeded.
        record: folder of the recorded replies; ``out/record`` by default.
        replay: take every reply from the record, and call no model.
        overwrite: replace an encoder that is already in ``out``.
        recording: how many episodes the candidates are scored on.
        limits: time and memory of the locked process.
        say: called with each line of progress.
        on_judged: called with each answer after it was judged.

    Raises:
        LareError: the model cannot be asked, or no answer passes its checks; names the folder of the answers.
    """
    whole, described = find_description(task)
    protocol = find_protocol(protocol) if isinstance(protocol, str) else protocol
    server = Server(model) if isinstance(model, str) else model
    out, record = Path(out), Path(record) if record else Path(out) / "record"
    chosen_by = _one_of("select", select, SELECTIONS)
    wording = _one_of("goal", goal, VARIANTS)
    _check_settings(out, chosen_by, reward, overwrite, draw)
    shown, orders = shuffled(described, draw) if anonymous else (described, None)
    start = opening(shown, wording, protocol, reward=reward)
    play = prepare(task, recording)
    ledger = _make_folder(out)
    budget = Budget(spending.tokens, spending.dollars, price_of(server.model))
    notes = _Notes(out / "dialogue.json", say)
    with _background(play) as episodes:  # started before the client, whose import takes a second
        client = None if replay else connect(server, budget, ledger)
        ask = notes.around(recorded(client, server.model, record, ledger=ledger, warn=say))
        evaluator = Evaluator(
            described,
            shown,
            orders,
            training_view(whole),
            episodes,
            out / "candidates",
            reward,
            limits,
            on_judged,
        )
        try:
            roles = Roles(ask, evaluator.judge, evaluator.compose, draw, reward)
            chosen = converse(start, protocol, chosen_by, roles)
        except LareError as error:
            kept = f"; {len(notes.entries)} answers are kept in {record}" if notes.entries else ""
            raise LareError(f"{error}{kept}") from None
    if chosen is None:
        last = evaluator.all[-1].problems[0]
        raise LareError(
            f"model: no answer of {server.model} passed its checks after {protocol.repairs} repairs (the last: "
            f"{last[:200]}); every answer and its report is in {evaluator.folder}; try another draw or model"
        )
    assert chosen.encoder is not None
    encoder = with_card(
        chosen.encoder,
        provenance=f"written by {server.model}",
        draw=draw,
        goal=goal,
        model=server.model,
        protocol=asdict(protocol) | {"select": select, "reward": reward, "chosen": chosen.name},
        usage=_usage(notes.entries, budget),
        score=figures(chosen.score) if chosen.score else {},
        hygiene=tuple(f"{leak.field}: {leak.message}" for leak in leaks(described, (wording,))),
    )
    write_text(out / "reply.json", reply_json(chosen.text))
    save(encoder, out)
    return encoder


def _one_of(name: str, value: str, known: Sequence[Choice]) -> Choice:
    for each in known:
        if each == value:
            return each
    raise LareError(f"{name}: there is no {value!r}; choose one of {', '.join(map(str, known))}")


def _check_settings(out: Path, select: Select, reward: bool, overwrite: bool, draw: int) -> None:
    """Raise LareError for settings that cannot work, before anything is asked or written."""
    if reward and select == "union":
        raise LareError("select: a union of rewards is not a single reward; choose merge or best")
    if draw < 0:
        raise LareError(f"draw: {draw} is below 0; number the draws from 0")
    if (out / CARD).exists() and not overwrite:
        raise LareError(f"out: {out} already holds an encoder; choose another folder, or add --overwrite")


def _make_folder(out: Path) -> Ledger:
    """Create the folder, without the candidates of an earlier attempt, which are derived again from the record."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(out / "candidates", ignore_errors=True)
    except OSError as error:
        raise LareError(f"out: cannot write {out} ({error.strerror}); choose a writable folder") from error
    return Ledger(out / "ledger.jsonl")


class _Notes:
    """The conversation so far, written to disk after every answer."""

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
                write_text(self.path, to_json([_turn(*entry) for entry in self.entries], indent=2) + "\n")
            number = {"candidate": f" {request.index + 1}", "repair": f" {request.index}"}.get(
                request.purpose, ""
            )
            source = "from the record" if reply.cached else f"{reply.completion_tokens:,} tokens"
            self.say(f"{request.purpose}{number}: answered ({source})")
            return reply

        return noted


def _turn(request: Request, reply: Reply) -> dict[str, Any]:
    return {
        "purpose": request.purpose,
        "index": request.index,
        "draw": request.draw,
        "temperature": request.temperature,
        "messages": request.messages,
        "reply": reply.text,
        "model": reply.model,
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
    }


def _usage(entries: list[tuple[Request, Reply]], budget: Budget) -> dict[str, Any]:
    """What the answers cost when they were first given, including those that now came from the record."""
    used = Usage()
    for _, reply in entries:
        used = used.plus(Usage(reply.prompt_tokens, reply.completion_tokens, 1))
    return asdict(used) | {"dollars": budget.cost(used)}


@contextlib.contextmanager
def _background(play: Callable[[threading.Event], Episodes]) -> Iterator[Callable[[], Episodes]]:
    """Play episodes in a thread while the model is asked; yields the function that waits for them."""
    stop, future = threading.Event(), Future()

    def work() -> None:
        try:
            future.set_result(play(stop))
        except BaseException as error:  # raised again by the function that waits
            future.set_exception(error)

    thread = threading.Thread(target=work, name="lare-episodes", daemon=True)
    thread.start()
    try:
        yield future.result
    finally:
        stop.set()
        thread.join()
