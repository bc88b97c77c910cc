"""Methods: named ways to assign credit, each one expression.

A learned method is *features* × *decoder* × *loss*; a direct one takes the encoder's word for the reward; a
reference method redistributes what the environment pays by a fixed rule. Adding a variant is adding a line
to ``METHODS``.
"""

from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal

from latent_reward.errors import LareError


@dataclass(frozen=True)
class Learned:
    """A decoder fitted so that its sum over an episode explains the return.

    Attributes:
        features: what the decoder reads: ``latent`` (the encoder's output), ``raw`` (o, a, o − o′) or ``next`` (o′).
        view: where the encoder looks: at the ``current`` observation o, the ``next`` one o′, or ``both``.
            An encoder whose source names ``next_observation`` itself always gets o and o′ as they are.
        loss: ``rd`` sums over whole episodes, ``rrd`` over a random subset, ``rrd-unbiased`` corrects for it.
        subset: K, steps per episode in a random subset.
        batch_steps: steps per decoder update; divided by K (or the horizon) it gives the episodes.
        hidden: widths of the decoder's hidden layers.
        learning_rate: Adam's step size.
        standardise: whether features are standardised by their running moments.
        scale_returns: whether targets R/L are divided by their root mean square over the first episodes.
        weight_decay: weight of ½‖ψ‖² beside the loss.
        linear: whether the decoder stands on a linear one that is solved from the returns of all episodes at once.
        agents: whether ``each`` agent of a team is paid its own proxy reward, or all of them their ``mean``.
    """

    features: Literal["latent", "raw", "next"]
    loss: Literal["rd", "rrd", "rrd-unbiased"]
    view: Literal["current", "next", "both"] = "next"
    subset: int = 64
    batch_steps: int = 256
    hidden: tuple[int, ...] = (256, 256)
    learning_rate: float = 3e-4
    standardise: bool = False
    scale_returns: bool = False
    weight_decay: float = 0.0
    agents: Literal["each", "mean"] = "each"
    linear: bool = False


@dataclass(frozen=True)
class Fixed:
    """A rule with nothing to learn: ``dense`` r_t, ``episodic`` R at the last step, ``uniform`` R/L."""

    rule: Literal["dense", "episodic", "uniform"]


@dataclass(frozen=True)
class Direct:
    """The only latent of an encoder is the reward, as the model wrote it: nothing to learn, no return needed.

    ``view`` says which observation the encoder looks at, as in :class:`Learned`.
    """

    view: Literal["current", "next"]


Credit = Learned | Fixed | Direct


@dataclass(frozen=True)
class Method:
    """A recipe with a name: what ``--method`` selects and ``lare methods`` prints."""

    name: str
    summary: str
    credit: Credit


# Latents are meant to add up to the reward, nearly: a linear part gets that from a dozen returns, and for the rest
# of half a dozen latents 64 units are enough. Rewards are paid for what happens between o and o′, so that the mean
# of a latent over both tells more than either.
_LARE = Learned("latent", "rrd-unbiased", view="both", hidden=(64, 64), linear=True)
_RAW = Learned("raw", "rrd")

METHODS = {
    method.name: method
    for method in (
        Method(
            "lare",
            "latent rewards before and after each step, unbiased random subsets: our best setting",
            _LARE,
        ),
        Method(
            "lare-paper",
            "latent rewards as released with the paper: φ(o, a), before the action shows",
            replace(_LARE, view="current", hidden=(256, 256), linear=False),
        ),
        Method("lare-rd", "latent rewards, sum over whole episodes", replace(_LARE, loss="rd")),
        Method("lare-rrd", "latent rewards, biased random subsets", replace(_LARE, loss="rrd")),
        Method("rd", "return decomposition on raw (o, a, o − o′), whole episodes", replace(_RAW, loss="rd")),
        Method("rrd", "randomised return decomposition on raw input (Ren et al. 2022)", _RAW),
        Method(
            "rrd-unbiased",
            "the same, corrected for the subset's variance",
            replace(_RAW, loss="rrd-unbiased"),
        ),
        Method(
            "llm-reward",
            "the one latent of an encoder as the reward itself, without a decoder or returns",
            Direct("next"),
        ),
        Method("dense", "reference: the true reward of every step", Fixed("dense")),
        Method("episodic", "reference: the return at the last step, nothing before", Fixed("episodic")),
        Method("uniform", "reference: the return spread evenly, R/L", Fixed("uniform")),
    )
}


# A team's decoder is that of the published team experiments, on the observation that is reached: deeper and
# narrower, and fitted to 32 whole episodes of 25 steps at a time.
_TEAM = {"hidden": (64, 64, 64, 64), "learning_rate": 5e-4, "weight_decay": 1e-5, "batch_steps": 800}
_TEAM_LARE = replace(_LARE, view="next", **_TEAM)
_TEAM_RAW = Learned("next", "rrd", subset=10, **_TEAM)

TEAM_METHODS = {
    method.name: method
    for method in (
        Method(
            "lare",
            "latent rewards of each agent, unbiased subsets (whole episodes up to 64 steps)",
            _TEAM_LARE,
        ),
        Method(
            "lare-rd",
            "latent rewards of each agent, whole episodes: the paper's",
            replace(_TEAM_LARE, loss="rd"),
        ),
        Method(
            "lare-no-agents",
            "the same, every agent paid the average of the team",
            replace(_TEAM_LARE, agents="mean"),
        ),
        Method(
            "rd",
            "return decomposition on the raw o′ of each agent, whole episodes",
            replace(_TEAM_RAW, loss="rd"),
        ),
        Method("rrd", "randomised return decomposition on the raw o′ (Ren et al. 2022)", _TEAM_RAW),
        Method(
            "rrd-unbiased",
            "the same, corrected for the variance of the team's subset",
            replace(_TEAM_RAW, loss="rrd-unbiased"),
        ),
        Method(
            "llm-reward",
            "the one latent of an encoder as each agent's reward, without a decoder or returns",
            Direct("next"),
        ),
        Method("dense", "reference: each agent's own true reward of every step", Fixed("dense")),
        Method(
            "episodic", "reference: the team's return at the last step, in equal parts", Fixed("episodic")
        ),
        Method(
            "uniform", "reference: the team's return spread evenly over steps and agents", Fixed("uniform")
        ),
    )
}


def find_method(name: str, *, of_teams: bool = False) -> Method:
    """The method called ``name``, with the settings for one agent or for teams.

    Raises:
        LareError: there is none; the message lists near misses.
    """
    methods = TEAM_METHODS if of_teams else METHODS
    if name in methods:
        return methods[name]
    near = get_close_matches(name, methods, n=3) or list(methods)
    for_whom = " for teams" if of_teams else ""
    raise LareError(
        f"method: there is no method {name!r}{for_whom}; did you mean {', '.join(near)}? (`lare methods` lists all)"
    )
