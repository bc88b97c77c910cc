"""The command ``design``: ask a language model for an encoder, and show what it wrote."""

import dataclasses
import math
from pathlib import Path
from typing import Annotated, Literal

from rich.table import Table
from tyro.conf import Positional, arg

from latent_reward.cli.common import Imports, TaskName, import_named, screen


def design(
    task: Positional[TaskName],
    *,
    model: Annotated[str, arg(metavar="NAME")],
    out: Annotated[Path, arg(metavar="DIR")],
    n: int = 5,
    draw: int = 0,
    select: Literal["merge", "best", "union"] = "merge",
    protocol: Literal["improved", "paper"] = "improved",
    goal: Literal["plain", "paper"] = "plain",
    reward: bool = False,
    verify: bool = True,
    anonymous: bool = False,
    base_url: Annotated[str | None, arg(metavar="URL")] = None,
    key_variable: Annotated[str | None, arg(metavar="NAME")] = None,
    max_tokens: int = 4096,
    reasoning_effort: Annotated[str | None, arg(metavar="LEVEL")] = None,
    timeout: Annotated[float, arg(metavar="S")] = 300.0,
    budget_tokens: Annotated[int | None, arg(metavar="N")] = None,
    budget_dollars: Annotated[float | None, arg(metavar="X")] = None,
    record: Annotated[Path | None, arg(metavar="DIR")] = None,
    replay: bool = False,
    episodes: int = 200,
    overwrite: bool = False,
    imports: Imports = (),
) -> None:
    """Let a language model write an encoder for TASK, verify and seal it.

    Candidates are asked for in parallel, checked in a locked process, scored on recorded episodes and made into one.
    If it is stopped, the same command continues without asking (or paying) again.

    Args:
        task: a built-in task (`lare tasks`) or the path of a task file; TASK/TEAM for one of several teams.
        model: the name the server knows the model by.
        out: the folder of the encoder, for `lare train --encoder`.
        n: number of candidates; 1 asks once and merges nothing.
        draw: each number gives an independent encoder (unrelated to the seed of training).
        select: let the model merge the candidates, take the one with the best score, or the union of their latents.
        protocol: ours, or that of the paper.
        goal: the wording of the goal that the model reads.
        reward: ask for a single reward instead of latents.
        verify: check the candidates before they are merged, and send a failed answer back to be repaired; an answer
            that fails is a failed design otherwise. Nothing is sealed without passing its checks.
        anonymous: show the model shuffled fields under neutral names.
        base_url: a server with OpenAI's chat protocol; OPENAI_BASE_URL or OpenAI by default.
        key_variable: the environment variable that holds the key of that server; OPENAI_API_KEY for OpenAI.
        max_tokens: maximum length of an answer, thoughts included.
        reasoning_effort: how much a thinking model thinks (such as low or high), as the server names it; left out
            where the server refuses it.
        timeout: longest time without data, in seconds; an answer may take four times as long.
        budget_tokens: limit on the tokens of all calls.
        budget_dollars: limit on the cost of all calls.
        record: folder of the recorded replies; OUT/record by default.
        replay: take every reply from the record, and call no model.
        episodes: maximum number of episodes of random behaviour to score candidates on.
        overwrite: replace an encoder that is already in OUT.
        imports: a module that the task may import, also one of this folder; may be given several times.
    """
    from latent_reward.design.judge import Candidate
    from latent_reward.design.llm.client import Server
    from latent_reward.design.make import design_encoder
    from latent_reward.design.play import Recording
    from latent_reward.design.prompt import find_protocol, unverified

    import_named(imports)
    asked = dataclasses.replace(find_protocol(protocol), candidates=n)
    judged: list[Candidate] = []

    def note(candidate: Candidate) -> None:
        judged.append(candidate)
        verdict = "passed" if candidate.passed else f"FAILED  {candidate.problems[0][:160]}"
        screen.print(f"{candidate.name}: {verdict}")

    try:
        encoder = design_encoder(
            task,
            model=Server(model, base_url, key_variable, max_tokens, timeout, reasoning_effort),
            out=out,
            draw=draw,
            protocol=asked if verify else unverified(asked),
            select=select,
            goal=goal,
            reward=reward,
            anonymous=anonymous,
            budget_tokens=budget_tokens,
            budget_dollars=budget_dollars,
            record=record,
            replay=replay,
            overwrite=overwrite,
            recording=Recording(episodes=episodes),
            say=screen.print,
            on_judged=note,
        )
    finally:
        if judged:
            screen.print(_candidates(judged))
    chosen = str(encoder.card.protocol["chosen"])
    screen.print(_latents(next(each for each in reversed(judged) if each.name == chosen)))
    for warning in encoder.card.score["warnings"]:
        screen.print(f"warning: {warning}")
    usage = encoder.card.usage
    money = "" if usage["dollars"] is None else f", {usage['dollars']:.4f} $"
    screen.print(
        f"sealed {chosen}: {out} ({usage['calls']} answers, {usage['prompt_tokens']:,} + "
        f"{usage['completion_tokens']:,} tokens{money}); {_next(str(task), out)}"
    )


def _next(task: str, out: Path) -> str:
    """How to train with the encoder; each of several teams needs one, in a folder with the name of the team."""
    from latent_reward.envs.named import import_options
    from latent_reward.task.load import find_description

    named = import_options()
    whole, described = find_description(task)
    team = described.name.removeprefix(whole.name).removeprefix("/")
    if not team:
        return f"train with `lare train {task}{named} --encoder {out}`"
    folder = out.parent if out.name == team else f"FOLDER, in which this one is called {team}"
    train = f"lare train {task.removesuffix(f'/{team}')}{named} --encoder {folder}"
    return f"design one for each team of {whole.name}, then `{train}`"


def _candidates(candidates) -> Table:
    """One row for each answer: verdict and score."""
    table = Table(
        "answer", "verdict", "R²", "R² of length", "rank", "latents", "condition", "repeated", "unused fields",
        box=None,
    )  # fmt: skip
    for each in candidates:
        score = each.score
        if score is None:
            table.add_row(each.name, f"{len(each.problems)} failed")
            continue
        figures = (score.r2, score.r2_length, score.rank)
        repeated = len(score.duplicates) + len(score.constant)
        table.add_row(
            each.name, "passed", *map(_number, figures), str(len(score.latents)), f"{score.condition:.1f}",
            str(repeated), str(len(score.unused)),
        )  # fmt: skip
    return table


def _latents(candidate) -> Table:
    """One row for each latent of the encoder, for a person to judge."""
    table = Table("latent", "rank with return", "reads", "what the model says", box=None)
    for each in candidate.score.latents:
        reads = [field.partition(": ")[2] for field in each.reads]
        shown = ", ".join(reads[:4]) + (f" and {len(reads) - 4} more" if len(reads) > 4 else "")
        table.add_row(each.name, _number(each.rank), shown, candidate.explanations.get(each.name, ""))
    return table


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
