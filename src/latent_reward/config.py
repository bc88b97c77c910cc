"""What a run was asked to do, as one frozen value and as JSON."""

import dataclasses
import json
from dataclasses import dataclass, field

from latent_reward.credit.methods import Method
from latent_reward.errors import LareError
from latent_reward.training.plan import OffPolicyPlan, Plan

CONFIG, CHECKPOINT = "config.json", "checkpoint.safetensors"


@dataclass(frozen=True)
class RunConfig:
    """What a run was asked to do; ``config.json`` is this, with every default spelled out.

    Attributes:
        task: name of the task.
        method: the recipe with all of its settings.
        seeds: seeds that train in lockstep.
        encoder: where the encoder came from (a bundled draw or a folder); None for methods without one.
        plan: how much is trained, with what agent, and when it is looked at.
    """

    task: str
    method: Method
    seeds: tuple[int, ...] = (0,)
    encoder: str | None = None
    plan: Plan = field(default_factory=OffPolicyPlan)

    def __post_init__(self):
        """Refuse seeds that cannot be meant."""
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise LareError(f"seeds: {self.seeds} must be different whole numbers from 0 up, at least one")

    def to_json(self) -> str:
        """The configuration as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    def index_of(self, seed: int | None) -> int:
        """Which of the run's seeds ``seed`` is; None is the first.

        Raises:
            LareError: the run has no such seed.
        """
        if seed is not None and seed not in self.seeds:
            raise LareError(f"seed: the run has no seed {seed}, only {', '.join(map(str, self.seeds))}")
        return 0 if seed is None else self.seeds.index(seed)


def spell_seeds(seeds: tuple[int, ...]) -> str:
    """``0..4`` for consecutive seeds, ``0,2,5`` otherwise; also the name of a default run folder."""
    if len(seeds) > 2 and seeds == tuple(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}..{seeds[-1]}"
    return ",".join(map(str, seeds))
