"""Design an encoder, from a task in words to a sealed folder; a stopped design can be continued at any point."""

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from latent_reward.design.anonymous import anonymous as shuffled
from latent_reward.design.dialogue import Dialogue, Select
from latent_reward.design.judge import Candidate, Evaluator, figures, reply_json
from latent_reward.design.llm.ask import Ask, ModelError, Reply, Request
from latent_reward.design.llm.budget import Budget, Ledger, Usage, price_of
from latent_reward.design.llm.client import connect
from latent_reward.design.llm.record import recorded
from latent_reward.design.llm.server import Server, address_of
from latent_reward.design.play import Recorded, Recording, prepare
from latent_reward.design.prompt import Protocol, find_protocol, opening
from latent_reward.design.score import training_view
from latent_reward.encoder.card import CARD
from latent_reward.encoder.encoder import Encoder, save, with_card
from latent_reward.errors import LareError, disk_errors, require_choice, require_count
from latent_reward.files import to_json, write_text
from latent_reward.sealing.lock import sandbox
from latent_reward.task.fields import Variant
from latent_reward.task.leakage import leaks
from latent_reward.task.load import find_description
from latent_reward.task.task import AnyTask

Say = Callable[[str], object]
COUNTS = "counts.json"  # how many answers of a design failed, also where none passed


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
    budget_tokens: int | None = None,
    budget_dollars: float | int | None = None,
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
        out: a folder for the sealed encoder, ``dialogue.json``, ``candidates/``, ``counts.json`` and ``ledger.jsonl``.
        draw: each number gives an independent encoder.
        protocol: ``improved``, ``paper``, or a :class:`~latent_reward.design.prompt.Protocol`.
        select: ``merge`` lets the model merge the candidates, ``best`` takes the one with the highest score,
            ``union`` takes all latents without duplicates.
        goal: the wording of the goal that the model reads.
        reward: ask for a single reward instead of latents (an encoder with one latent).
        anonymous: show the model shuffled fields under neutral names.
        budget_tokens: limit on the tokens of all calls, which is never exceeded.
        budget_dollars: limit on their cost in US dollars.
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
    require_choice("select", select, Select)
    wording = require_choice("goal", goal, Variant)
    if reward and select == "union":
        raise LareError("select: a union of rewards is not a single reward; choose merge or best")
    if not protocol.repairs and not protocol.verify_candidates and select != "merge":
        raise LareError(
            f"select: {select} chooses among checked candidates; choose merge, or leave --no-verify out"
        )
    require_count(0, draw=draw)
    if (out / CARD).exists() and not overwrite:
        raise LareError(f"out: {out} already holds an encoder; choose another folder, or add --overwrite")
    shown, orders = shuffled(described, draw) if anonymous else (described, None)
    start = opening(shown, wording, protocol, reward=reward)
    play = prepare(task, recording)
    if not replay:
        address_of(server)  # a wrong address is named before anything is written
    candidates = out / "candidates"
    with disk_errors(f"out: cannot write {out}", "choose a writable folder"):
        out.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(candidates, ignore_errors=True)  # they are derived again from the record
    ledger = Ledger(out / "ledger.jsonl")
    budget = Budget(budget_tokens, budget_dollars, price_of(server.model))
    turns: list[tuple[Request, Reply]] = []
    with _background(play) as episodes:  # started before the client, whose import takes a second
        client = None if replay else connect(server, budget, ledger, say=say)
        ask = recorded(client, server.model, record, ledger=ledger)
        ask = _noted(ask, turns, out / "dialogue.json", say)
        view = training_view(whole)
        judge = Evaluator(described, shown, orders, view, episodes, candidates, reward, limits, on_judged)
        try:
            chosen = Dialogue(start, protocol, ask, judge, draw).converse(select)
        except LareError as error:
            kept = f"; {len(turns)} answers are kept in {record}" if turns else ""
            raise LareError(f"{error}{kept}") from None
        finally:
            counts = _counts(judge.all)
            write_text(out / COUNTS, to_json(counts, indent=2) + "\n")
    if chosen is None:
        last = judge.all[-1].problems[0]
        raise LareError(
            f"model: no answer of {server.model} passed its checks after {protocol.repairs} repairs (the last: "
            f"{last[:200]}); every answer and its report is in {candidates}; try another draw or model"
        )
    assert chosen.encoder is not None
    # What the answers cost when they were first given, including those that now came from the record.
    prompt, completion = zip(
        *((reply.prompt_tokens, reply.completion_tokens) for _, reply in turns), strict=True
    )
    used = Usage(sum(prompt), sum(completion), len(turns))
    encoder = with_card(
        chosen.encoder,
        provenance=f"written by {server.model}",
        draw=draw,
        goal=goal,
        model=server.model,
        protocol=asdict(protocol) | {"select": select, "reward": reward, "chosen": chosen.name} | counts,
        usage=asdict(used) | {"dollars": budget.cost(used)},
        score=figures(chosen.score) if chosen.score else {},
        hygiene=tuple(f"{leak.field}: {leak.message}" for leak in leaks(described, (wording,))),
    )
    write_text(out / "reply.json", reply_json(chosen.text))
    save(encoder, out)
    return encoder


def _counts(judged: Sequence[Candidate]) -> dict[str, int]:
    """How many answers were checked, and how many of them failed; the last one may be the encoder."""
    return {"checked": len(judged), "failed": sum(not each.passed for each in judged)}


def _noted(ask: Ask, turns: list[tuple[Request, Reply]], path: Path, say: Say) -> Ask:
    """``ask``, with every answer added to ``turns``, and all of them written to ``path`` after each."""
    lock = threading.Lock()
    asked = ("purpose", "index", "draw", "temperature", "messages")
    cost = ("model", "prompt_tokens", "completion_tokens")

    def noted(request: Request) -> Reply:
        numbers = {"candidate": f" {request.index + 1}", "repair": f" {request.index}"}
        name = f"{request.purpose}{numbers.get(request.purpose, '')}"
        try:
            reply = ask(request)
        except ModelError as error:
            say(f"{name}: no answer ({error.said})")
            raise
        with lock:
            turns.append((request, reply))
            content = [
                {name: getattr(question, name) for name in asked}
                | {"reply": answer.text}
                | {name: getattr(answer, name) for name in cost}
                for question, answer in turns
            ]
            write_text(path, to_json(content, indent=2) + "\n")
        source = "from the record" if reply.cached else f"{reply.completion_tokens:,} tokens"
        say(f"{name}: answered ({source})")
        return reply

    return noted


@contextlib.contextmanager
def _background(play: Callable[[threading.Event], Recorded]) -> Iterator[Callable[[], Recorded]]:
    """Play episodes in a thread while the model is asked; yields the function that waits for them."""
    stop = threading.Event()
    with ThreadPoolExecutor(1, "lare-episodes") as pool:
        try:
            yield pool.submit(play, stop).result
        finally:
            stop.set()
