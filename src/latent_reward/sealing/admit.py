"""Let foreign programs in: each is tried in a locked process, and only then known to this installation."""

import base64
from collections.abc import Sequence

from latent_reward.encoder import known
from latent_reward.encoder.card import Card
from latent_reward.encoder.screen import MAX_PROGRAM, PROGRAM, read_program, screen
from latent_reward.errors import LareError
from latent_reward.sealing.lock import sandbox

_WORKER = "latent_reward.sealing.trial:try_each"
_TOGETHER = 4  # programs in one process at most


def admit(program: bytes, card: Card) -> None:
    """Try a program in a locked process unless it is known, and remember it if nothing is wrong with it.

    Raises:
        LareError: what is wrong with it.
    """
    if not known.is_known(program) and (problem := problems_of([(program, card)])[0]):
        raise LareError(problem)


def problems_of(programs: Sequence[tuple[bytes, Card]]) -> list[str]:
    """What is wrong with each program, as one line, or an empty string: then it is known from now on.

    Known ones are screened here, the others are tried in locked processes, a few in each. If a process does not end
    as it should, each of its programs gets one of its own.
    """
    problems = [_screened(*each) if known.is_known(each[0]) else _too_large(each[0]) for each in programs]
    left = [i for i, (program, _) in enumerate(programs) if not problems[i] and not known.is_known(program)]
    groups = [left[first : first + _TOGETHER] for first in range(0, len(left), _TOGETHER)]
    tried = [problem for group in groups for problem in _tried([programs[place] for place in group])]
    for place, problem in zip(left, tried, strict=True):
        problems[place] = problem
        if not problem:
            known.remember(programs[place][0])
    return problems


def _screened(program: bytes, card: Card) -> str:
    try:
        screen(read_program(program), card)
    except LareError as error:
        return str(error)
    return ""


def _too_large(program: bytes) -> str:
    size = len(program)
    too_large = f"{PROGRAM} has {size} bytes, at most {MAX_PROGRAM} are read; design the encoder again"
    return too_large if size > MAX_PROGRAM else ""


def _tried(programs: list[tuple[bytes, Card]]) -> list[str]:
    try:
        found = sandbox.run(_WORKER, [_payload(*each) for each in programs]).result
        if not isinstance(found, list) or len(found) != len(programs):
            raise LareError("the locked process gave no usable answer")
    except LareError as error:
        if len(programs) > 1:
            return [_tried([each])[0] for each in programs]
        reason = str(error).partition(";")[0]
        return [f"{PROGRAM} cannot be loaded safely ({reason}); seal it again from its source"]
    return [" ".join(str(problem).split())[:500] for problem in found]


def _payload(program: bytes, card: Card) -> dict:
    return {
        "program": base64.b64encode(program).decode(),
        "observation_size": card.observation_size,
        "action_size": card.action_size,
        "latents": len(card.latent_names),
    }
