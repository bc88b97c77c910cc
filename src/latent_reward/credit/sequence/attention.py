"""Attention over the steps of an episode and over the agents of a step, with static shapes and masks."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from latent_reward.errors import LareError
from latent_reward.networks import MLP, init_mlp
from latent_reward.types import AgentMask, Key

Tokens = Float[Array, "episode time agent width"]


class Block(eqx.Module):
    """Attention and a feed-forward network, each added to what it reads (Xiong et al. 2020, arXiv 2002.04745).

    Both read tokens of mean 0 and variance 1. ``project`` gives queries, keys and values of all heads.
    """

    project: MLP
    merge: MLP
    feed: MLP
    heads: int = eqx.field(static=True)

    def __call__(
        self,
        tokens: Float[Array, "*batch token width"],
        allowed: Bool[Array, "*batch coalition token token"],
    ) -> Float[Array, "*batch token width"]:
        """The tokens after each has looked at those that it is ``allowed`` to see.

        The last two axes of ``allowed`` are who looks and what is seen. Several coalitions of what is seen count
        equally: the output is the mean of what each would give.
        """
        *batch, count, width = tokens.shape
        parts = self.project(normalise(tokens)).reshape(*batch, count, 3, self.heads, width // self.heads)
        query, key, value = (parts[..., index, :, :] for index in range(3))
        weight = weights(query, key, allowed)
        seen = jnp.einsum("...hqk,...khd->...qhd", weight, value).reshape(tokens.shape)
        tokens = tokens + self.merge(seen)
        return tokens + self.feed(normalise(tokens))


class Stack(NamedTuple):
    """What reads an episode: the embeddings of steps, and blocks over time and over agents.

    Attributes:
        embed: of what is read of a step.
        place: of the place of a step in its episode.
        time: blocks over the steps of each agent.
        agents: blocks over the agents of each step.
    """

    embed: MLP
    place: Float[Array, "time width"]
    time: tuple[Block, ...]
    agents: tuple[Block, ...]


def init_stack(key: Key, *, size: int, horizon: int, width: int, heads: int, time: int, agents: int) -> Stack:
    """Draw a stack for ``size`` features of a step with so many blocks over time and over agents."""
    k_embed, k_place, *k_blocks = jax.random.split(key, 2 + time + agents)
    blocks = tuple(init_block(each, width, heads) for each in k_blocks)
    return Stack(
        init_mlp(k_embed, (size, width)),
        0.1 * jax.random.normal(k_place, (horizon, width)),
        blocks[:time],
        blocks[time:],
    )


def init_block(key: Key, width: int, heads: int) -> Block:
    """Draw a block; each head reads an equal part of the width."""
    k_project, k_merge, k_feed = jax.random.split(key, 3)
    return Block(
        init_mlp(k_project, (width, 3 * width)),
        init_mlp(k_merge, (width, width)),
        init_mlp(k_feed, (width, 2 * width, width)),
        heads,
    )


def embed(stack: Stack, features: Float[Array, "episode time agent feature"]) -> Tokens:
    """A token for each step and agent, which knows its place in the episode."""
    return stack.embed(features) + stack.place[: features.shape[1], None]


def read_steps(stack: Stack, features: Float[Array, "episode time agent feature"], mask: AgentMask) -> Tokens:
    """Tokens after blocks over time and over agents in turn, of which the stack has as many."""
    tokens = embed(stack, features)
    for time, agents in zip(stack.time, stack.agents, strict=True):
        tokens = over_agents(agents, over_time(time, tokens, mask), mask)
    return normalise(tokens)


def over_time(block: Block, tokens: Tokens, mask: AgentMask) -> Tokens:
    """Each step of an agent looks at its steps so far, never ahead."""
    there = jnp.swapaxes(mask, 1, 2)
    count = mask.shape[1]
    past = jnp.tril(jnp.ones((count, count), bool))
    allowed = past & there[..., None, :] & there[..., :, None]
    found = block(jnp.swapaxes(tokens, 1, 2), allowed[..., None, :, :])
    return jnp.swapaxes(found, 1, 2)


def over_agents(
    block: Block,
    tokens: Tokens,
    mask: AgentMask,
    coalitions: Bool[Array, "coalition agent agent"] | None = None,
) -> Tokens:
    """Each agent looks at the agents of its step: at all that are there, or at those in each of ``coalitions``."""
    allowed = (mask[..., None, :] & mask[..., :, None])[..., None, :, :]
    return block(tokens, allowed if coalitions is None else allowed & coalitions)


def weights(
    query: Float[Array, "*batch token head part"],
    key: Float[Array, "*batch token head part"],
    allowed: Bool[Array, "*batch coalition token token"],
) -> Float[Array, "*batch head token token"]:
    """softmax(q·k/√d) over what is allowed, the mean over coalitions; 0 for a token that may see nothing."""
    score = jnp.einsum("...qhd,...khd->...hqk", query, key)[..., None, :, :] / query.shape[-1] ** 0.5
    allowed = allowed[..., None, :, :, :]
    most = jax.lax.stop_gradient(jnp.where(allowed, score, -jnp.inf).max(axis=-1, keepdims=True))
    shifted = jnp.where(allowed, score - jnp.where(jnp.isfinite(most), most, 0.0), 0.0)
    weight = jnp.where(allowed, jnp.exp(shifted), 0.0)
    return (weight / jnp.maximum(weight.sum(axis=-1, keepdims=True), 1.0)).mean(axis=-3)


def normalise(tokens: Float[Array, "*batch width"]) -> Float[Array, "*batch width"]:
    """Tokens with mean 0 and variance 1 over their width (Ba et al. 2016); what follows is linear and scales them."""
    centred = tokens - tokens.mean(axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)


def require_shares(width: int, heads: int) -> None:
    """Raise unless ``heads`` divide ``width``.

    Raises:
        LareError: they do not.
    """
    if heads < 1 or width < heads or width % heads:
        raise LareError(f"heads: {heads} cannot share a width of {width}; give a divisor of the width")
