"""Hide the names of a task, to measure how much a language model designs from its memory of the benchmark.

A model may recognise a well-known environment by the usual order and names of its fields, and recall an encoder or the
reward that it has read. Here the fields are shuffled, all names are neutral, and words of the environment's name are
hidden in all texts. The meaning of the numbers stays, without which a step cannot be judged.
"""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from latent_reward.encoder.card import Orders
from latent_reward.errors import LareError
from latent_reward.task.fields import Field, Part
from latent_reward.task.task import Task

HIDDEN = "[hidden]"
_SHORTEST = 5  # letters of a word that identifies the environment: "Cheetah", not "Half"
_LIKE_CODE = re.compile(r"[_0-9(]")  # "abdomen_z" is always a name, "speed" is also a word


def anonymous(task: Task, seed: int, *, units: bool = True) -> tuple[Task, Orders]:
    """The same task with shuffled fields and neutral names, and the original index of each of its columns.

    Design an encoder for the anonymous task, then seal it for the true one: ``with_card(encoder_of(report,
    source, task), orders=orders)``. It takes the true observation and action.

    The fields must describe every index once, else LareError is raised; a block of indices is moved as a whole.
    ``seed`` is that of the shuffle; without ``units`` fields lose theirs.
    """
    random = np.random.default_rng(seed)
    observation, observed = _shuffle("observation", task.observation, random)
    action, acted = _shuffle("action", task.action, random)
    # A name in both parts is that of the observation wherever a text mentions it.
    renamed = {each.name: f"control {each.index}" for each in action}
    renamed |= {each.name: f"value {each.index}" for each in observation}
    hide = _hider(renamed, task)

    def strip(stem: str, fields: tuple[Field, ...]) -> tuple[Field, ...]:
        unit = {} if units else {"unit": "-"}
        return tuple(
            replace(each, name=f"{stem} {each.index}", meaning=hide(each.meaning), **unit) for each in fields
        )

    hidden = replace(
        task,
        name=f"anonymous-{seed}",
        env_id="anonymous",
        env_kwargs={},
        goal={variant: hide(text) for variant, text in task.goal.items()},
        observation=strip("value", observation),
        action=strip("control", action),
    )
    return hidden, Orders(observed, acted)


def _shuffle(
    part: Part, fields: tuple[Field, ...], random: np.random.Generator
) -> tuple[tuple[Field, ...], tuple[int, ...]]:
    """The fields in random order from index 0 on, and the original index of each column."""
    described = sorted(index for each in fields for index in each.indices)
    if described != list(range(len(described))):
        raise LareError(
            f"{part}: the fields do not describe every index once; run `lare check` on the task file"
        )
    shuffled: list[Field] = []
    order: list[int] = []
    for position in random.permutation(len(fields)):
        each = fields[position]
        shuffled.append(replace(each, index=len(order)))
        order.extend(each.indices)
    return tuple(shuffled), tuple(order)


def _hider(renamed: dict[str, str], task: Task) -> Callable[[str], str]:
    """Replace names of fields by neutral ones, and words of the environment's name by ``[hidden]``."""
    known = sorted(filter(_LIKE_CODE.search, renamed), key=len, reverse=True)
    spelled = task.name + " " + task.env_id.rpartition(":")[2]
    words = {word for word in re.findall(r"[A-Z]?[a-z]+", spelled) if len(word) >= _SHORTEST}
    fields = re.compile("|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in known) or r"(?!)")
    places = re.compile("|".join(rf"\b{word}\w*" for word in sorted(words)) or r"(?!)", re.IGNORECASE)

    def hide(text: str) -> str:
        return places.sub(HIDDEN, fields.sub(lambda found: renamed[found[0]], text))

    return hide
