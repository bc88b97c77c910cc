"""Methods: named ways to assign credit, each one expression from the settings of a class in this folder.

A method has settings for an agent that learns from replay, one transition at a time (``replay``), and for agents that
learn from whole fresh episodes (``episodes``); one of the two may be missing. Adding a variant is adding a line.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import pydantic

from latent_reward.credit.diaster import Diaster
from latent_reward.credit.direct import Direct
from latent_reward.credit.ircr import IRCR
from latent_reward.credit.lrr import LRR
from latent_reward.credit.per_episode import PerEpisode
from latent_reward.credit.per_step import PerStep
from latent_reward.credit.reference import Reference
from latent_reward.credit.sequence.arel import AREL
from latent_reward.credit.sequence.stas import STAS
from latent_reward.credit.sequence.tar2 import TAR2
from latent_reward.credit.solved import Solved
from latent_reward.credit.vib import VIB
from latent_reward.errors import LareError, did_you_mean, require_choice, shown
from latent_reward.files import is_file_name

Network = PerStep | PerEpisode | Diaster | LRR | VIB
Credit = Annotated[Network | Solved | IRCR | Direct | Reference, pydantic.Field(discriminator="kind")]
"""All classes of methods; files distinguish them by ``kind``."""

Experience = Literal["replay", "episodes"]
_Reader = Diaster | PerEpisode


@dataclass(frozen=True)
class Entry:
    """A row of the table: a summary, and the settings for each way to learn; None if the method has none."""

    summary: str
    replay: Credit | None
    episodes: Credit | None

    def settings(self, experience: Experience) -> Credit | None:
        """The method for agents that learn in this way."""
        return self.replay if experience == "replay" else self.episodes


# Rewards are paid for what happens between o and o′, so that the mean of a latent over both is worth more than either.
# Teams look at o′ only. Raw columns and random hinges carry what latents miss.
_LARE = Solved(("latent", "latent-hinges", "raw", "raw-hinges", "termination"))
_LARE_EPISODES = replace(_LARE, view="next")
_LINEAR = Solved(("raw", "termination"))
_GP = Solved(("raw", "raw-hinges", "termination"))

# The losses of the paper with a network on latents; for half a dozen of them 64 units are enough.
_NETWORK = PerStep("latent", "rrd-unbiased", view="both", hidden=(64, 64))
_RAW = PerStep("raw", "rrd")
_PUBLISHED_INPUT = {"standardise": False, "scale_returns": False}

# For whole episodes, the decoder of the published team experiments, on the observation that is reached: deeper and
# narrower, and fitted to 32 whole episodes of 25 steps at a time.
_TEAM = {"hidden": (64, 64, 64, 64), "learning_rate": 5e-4, "weight_decay": 1e-5, "batch_steps": 800}
_NETWORK_EPISODES = replace(_NETWORK, view="next", **_TEAM)
_RAW_EPISODES = PerStep("next", "rrd", subset=10, **_TEAM)

# Rivals read what their papers let them read: STAS and TAR² what is done, too, and AREL what is reached.
_DIASTER = Diaster()
_DIASTER_EPISODES = Diaster("next", episodes=16, batch_steps=400, hidden=(64, 64))
_STAS, _AREL, _TAR2 = PerEpisode(STAS()), PerEpisode(AREL(), "next"), PerEpisode(TAR2())
_LRR_EPISODES = LRR("next", hidden=(64, 64, 64, 64), learning_rate=5e-4, batch_steps=800)
_VIB_EPISODES = VIB("next", latent=4, hidden=(64, 64), learning_rate=5e-4, batch_steps=800)


def _on_latents(replay: _Reader, episodes: _Reader) -> tuple[_Reader, _Reader]:
    """The same networks on latents, for each way to learn."""
    return replace(replay, input="latent", view="both"), replace(episodes, input="latent")


METHODS: dict[str, Entry] = {
    "lare": Entry(
        "latent rewards, solved from the returns, with raw columns for what latents miss: our best setting",
        _LARE,
        _LARE_EPISODES,
    ),
    "lare-paper": Entry(
        "latent rewards as released with the paper: φ(o, a), from the observation before the action",
        replace(_NETWORK, view="current", hidden=(256, 256), **_PUBLISHED_INPUT),
        None,
    ),
    "lare-rd": Entry(
        "latent rewards and a network, sum over whole episodes; the loss of the paper for teams",
        replace(_NETWORK, loss="rd"),
        replace(_NETWORK_EPISODES, loss="rd"),
    ),
    "lare-rrd": Entry(
        "latent rewards and a network, biased random subsets", replace(_NETWORK, loss="rrd"), None
    ),
    "lare-no-agents": Entry(
        "lare, but every agent of a team gets the team's average reward",
        None,
        replace(_LARE_EPISODES, agents="mean"),
    ),
    "rd": Entry(
        "return decomposition on raw input, whole episodes (Efroni et al. 2021)",
        replace(_RAW, loss="rd"),
        replace(_RAW_EPISODES, loss="rd"),
    ),
    "rrd": Entry("randomised return decomposition on raw input (Ren et al. 2022)", _RAW, _RAW_EPISODES),
    "rrd-unbiased": Entry(
        "the same, corrected for the variance of the subset",
        replace(_RAW, loss="rrd-unbiased"),
        replace(_RAW_EPISODES, loss="rrd-unbiased"),
    ),
    **{
        f"{name}-paper": Entry(
            f"{name} with inputs and returns as they are, as published",
            replace(_RAW, loss=name, **_PUBLISHED_INPUT),
            replace(_RAW_EPISODES, loss=name, **_PUBLISHED_INPUT),
        )
        for name in ("rd", "rrd", "rrd-unbiased")
    },
    "linear": Entry(
        "no latents, no network: linear in (o, a, a², o′) and termination, solved from the returns",
        _LINEAR,
        _LINEAR,
    ),
    "gp": Entry(
        "linear with random hinges of the step: a Gaussian process",
        _GP,
        _GP,
    ),
    "vib": Entry(
        "a learned bottleneck in the place of latents (Alemi et al. 2017), biased random subsets",
        VIB(),
        _VIB_EPISODES,
    ),
    "ircr": Entry("how good the episode was, for each of its steps (Gangwani et al. 2020)", IRCR(), IRCR()),
    "diaster": Entry(
        "rewards of sub-trajectories, and their differences (Lin et al. 2024)", _DIASTER, _DIASTER_EPISODES
    ),
    "stas": Entry("attention over time, Shapley attention over agents (Chen et al. 2024)", _STAS, _STAS),
    "stas-ml": Entry(
        "the same on several levels", PerEpisode(STAS(levels=True)), PerEpisode(STAS(levels=True))
    ),
    "arel": Entry("attention over time and agents, one reward for all (Xiao et al. 2022)", _AREL, _AREL),
    "tar2": Entry("normalised shares of the return (Kapoor et al. 2025)", _TAR2, _TAR2),
    "lrr": Entry(
        "the likelihood of returns, with a variance per step (Xiao and Jiao 2025)", LRR(), _LRR_EPISODES
    ),
    "lare-diaster": Entry("diaster on latents", *_on_latents(_DIASTER, _DIASTER_EPISODES)),
    "lare-stas": Entry("stas on latents", *_on_latents(_STAS, _STAS)),
    "lare-arel": Entry("arel on latents", *_on_latents(_AREL, _AREL)),
    "lare-tar2": Entry("tar2 on latents", *_on_latents(_TAR2, _TAR2)),
    "llm-reward": Entry(
        "the encoder's single latent as the reward, without a decoder or returns", Direct(), Direct()
    ),
    "dense": Entry("reference: the true reward of every step", Reference("dense"), Reference("dense")),
    "episodic": Entry(
        "reference: the return at the last step, nothing before", Reference("episodic"), Reference("episodic")
    ),
    "uniform": Entry("reference: the return spread evenly, R/L", Reference("uniform"), Reference("uniform")),
}


@dataclass(frozen=True)
class Recipe:
    """A method with its name, as ``--method`` selects it."""

    name: str
    credit: Credit

    def __post_init__(self):
        """Raise a :class:`~latent_reward.errors.LareError` for a name that no folder can have."""
        if not isinstance(self.name, str) or not is_file_name(self.name):
            raise LareError(
                f"method: {shown(self.name)} cannot name a folder; use letters, digits, and . _ - between them"
            )
        if not hasattr(self.credit, "latents"):
            raise LareError(f"method: {shown(self.credit)} assigns no credit; give settings of a method")


def find_method(name: str | Recipe, experience: Experience) -> Recipe:
    """The method called ``name``, with its settings for agents that learn in this way; a recipe is itself.

    Raises:
        LareError: there is none; the message has near misses, or says what the method is for.
    """
    require_choice("experience", experience, Experience)
    if isinstance(name, Recipe):
        return name
    if not isinstance(name, str):
        raise LareError(f"method: {name!r} is no method; give a name, such as 'lare', or a recipe")
    if name not in METHODS:
        known = [each for each, entry in METHODS.items() if entry.settings(experience) is not None]
        raise LareError(
            f"method: there is no {name!r}{did_you_mean(name, known)}; choose from {', '.join(known)}"
        )
    credit = METHODS[name].settings(experience)
    if credit is None:
        others = [each for each, entry in METHODS.items() if entry.settings(experience) is not None]
        kind = "from replay (td3, sac, ddpg)" if experience == "episodes" else "from whole episodes (ppo)"
        raise LareError(f"method: {name} is for agents that learn {kind}; choose from {', '.join(others)}")
    return Recipe(name, credit)
