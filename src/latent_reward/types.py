"""Array types with named axes, and the error that a user can act on.

Axis names are the same in the whole package: ``episode``, ``time``, ``agent``, ``feature`` for stored
episodes, ``batch`` for loose rows, ``seed`` for runs that train side by side.
"""

from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray
from jaxtyping import Key as TypedKey

Rows = Float[Array, "batch feature"]
Scalars = Float[Array, " batch"]
Observations = Float[Array, "batch observation"]
Actions = Float[Array, "batch action"]
Latents = Float[Array, "batch latent"]

EpisodeFeatures = Float[Array, "episode time agent feature"]
EpisodeRewards = Float[Array, "episode time agent"]
EpisodeMask = Bool[Array, "episode time"]
AgentMask = Bool[Array, "episode time agent"]
Returns = Float[Array, " episode"]
Lengths = Int[Array, " episode"]

Scalar = Float[Array, ""]
Key = PRNGKeyArray
Keys = TypedKey[Array, " seed"]


class LareError(Exception):
    """A mistake a user can mend: the message names the field, the value and the remedy.

    The command line prints it as one line and exits with status 1; no traceback is shown.
    """


def at_least_one(**counts: int) -> None:
    """Refuse counts of nothing.

    Raises:
        LareError: one of them is below 1; it is named.
    """
    for name, count in counts.items():
        if count < 1:
            raise LareError(f"{name}: {count} is not possible; give a whole number of at least 1")


class TaskError(LareError):
    """A task that does not fit its environment: the field at fault, what is wrong and the remedy."""

    def __init__(self, field: str, message: str, remedy: str):
        """Keep the three parts, so that a checker can add the line to them."""
        super().__init__(f"{field}: {message}; {remedy}")
        self.field, self.message, self.remedy = field, message, remedy
