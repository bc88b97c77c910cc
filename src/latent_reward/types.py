"""Array types with named axes.

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
