"""In which dialect a question is asked next, by what happened to the last call rather than by what a server says."""

from dataclasses import dataclass, field

from latent_reward.design.llm.ask import ModelError, Reply
from latent_reward.design.llm.wire import Dialect

_MOST_REFUSALS = 10
_OVERLOADS = 4  # of a server that says so, before the form is suspected; of one that breaks it is 1


@dataclass(frozen=True)
class Outcome:
    """What a call cost and maybe answered, its failure, and what to do about that."""

    reply: Reply
    error: ModelError | None = None
    status: int | None = None  # of the response, if that is an error
    wait: float | None = None  # the seconds that the server asks to wait
    refused: tuple[str, str | None] | None = None  # complaint and parameter, if the dialect may be why
    doubtful: bool = False  # whether the form may be why nothing usable was written
    excerpt: str = ""  # of a text that cannot be used


@dataclass
class Search:
    """The dialects in which one question was asked; ``dialect`` is the current one."""

    start: Dialect
    dialect: Dialect
    tried: set[Dialect] = field(default_factory=set)
    broken: int = 0  # answers of status 5xx
    lowering: bool = True  # whether they may still be due to the form

    def advance(self, outcome: Outcome, known: Dialect) -> bool:
        """Go on to the next dialect if the current one may be why a call failed; False if it is not, or none is left.

        ``known`` is what other questions have found out meanwhile.
        """
        self.tried.add(self.dialect)
        following = self._following(outcome)
        if following is None:
            return False
        if known != self.start and known not in self.tried:
            self.start = following = known
        self.dialect = following
        return True

    def _following(self, outcome: Outcome) -> Dialect | None:
        if outcome.refused:
            if len(self.tried) > _MOST_REFUSALS:
                return None
            others = self.dialect.simpler(self.start, *outcome.refused)
            return next((each for each in others if each not in self.tried), None)
        if outcome.doubtful:
            return self.dialect.lower(paid=True)
        if outcome.error is None or outcome.error.kind != "server" or not self.lowering:
            return None
        # The first failure may pass. If it recurs, each lower form is tried once, and if none works, the form is not
        # the reason.
        self.broken += 1
        if self.broken <= (1 if outcome.status in (None, 500) else _OVERLOADS):
            return None
        lower = self.dialect.lower()
        if lower is None:
            self.dialect, self.lowering = self.start, False
        return lower
