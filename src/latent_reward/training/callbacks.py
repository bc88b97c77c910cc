"""What a training tells its caller while it runs: finished episodes, evaluations and checkpoints."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from latent_reward.report.evaluation import Report
from latent_reward.report.log import Logger


@dataclass(frozen=True)
class EpisodeEnd:
    """The end of a training episode of one team of one seed.

    Attributes:
        seed: the seed.
        team: the team; empty where there is only one.
        step: environment steps of the seed so far.
        episode: number of the episode, from 0.
        ret: its true return.
        length: its steps.
    """

    seed: int
    team: str
    step: int
    episode: int
    ret: float
    length: int


@dataclass(frozen=True)
class Saved:
    """A checkpoint that was just written: the file, and the step of each seed that it holds."""

    path: Path
    step: int


OnEpisode = Callable[[EpisodeEnd], object]
OnEvaluation = Callable[[Sequence[Report]], object]
OnCheckpoint = Callable[[Saved], object]


@dataclass(frozen=True)
class Callbacks:
    """What a training calls beside its own log; an error ends the training, and its last checkpoint stays.

    Attributes:
        on_evaluation: called with one report per seed and team after each evaluation.
        on_checkpoint: called after each checkpoint.
        loggers: get the same reports, and are closed at the end.
    """

    on_evaluation: OnEvaluation | None = None
    on_checkpoint: OnCheckpoint | None = None
    loggers: Sequence[Logger] = ()
