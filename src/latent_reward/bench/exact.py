"""What is true of a world, computed by dynamic programming: plans, values, advantages, gradients.

Rewards may be those of a method: ``[batch, transition]``, or with a last axis of agents. A policy of a team is a
product of the agents' policies π_i(a_i | s), ``[agent, state, action]``; all see the state.
"""

import numpy as np
from jaxtyping import Float

from latent_reward.bench.world import World

Rewards = Float[np.ndarray, "batch transition"]
Policy = Float[np.ndarray, "agent state action"]
Joint = Float[np.ndarray, "*batch state joint"]
_TIE = 1e-5  # of the largest value: float32 rewards of equal worth differ by less


def action_values(
    world: World, reward: Rewards, later: Float[np.ndarray, "batch state"]
) -> Float[np.ndarray, "batch state joint"]:
    """Q(s, a) = E[r + (1 − over) V(s′)], with V of the time after the step."""
    flow = reward + np.where(world.over, 0.0, later[:, world.target])
    found = (world.expectation @ flow.T).T
    return found.reshape(len(reward), world.states, len(world.choices))


def plan(world: World, reward: Rewards) -> list[Joint]:
    """The best joint policy for each time, by backward induction; actions of equal worth are equally likely."""
    later, policies = np.zeros((len(reward), world.states)), []
    for _ in range(world.horizon):
        values = action_values(world, reward, later)
        later = values.max(axis=-1)
        near = values >= later[..., None] - _TIE * np.abs(values).max(axis=(1, 2), keepdims=True)
        policies.append(near / near.sum(axis=-1, keepdims=True))
    return policies[::-1]


def best_values(world: World) -> Float[np.ndarray, "time state joint"]:
    """Q*_t(s, a) of the team's true reward."""
    reward, later = world.reward.sum(axis=1)[None], np.zeros((1, world.states))
    found = []
    for _ in range(world.horizon):
        found.append(action_values(world, reward, later)[0])
        later = found[-1].max(axis=-1)[None]
    return np.array(found[::-1])


def expected_return(world: World, policies: list[Joint]) -> Float[np.ndarray, " batch"]:
    """E[R] of the true rewards under a joint policy for each time."""
    count = len(policies[0])
    reward = np.broadcast_to(world.reward.sum(axis=1), (count, len(world.source)))
    later = np.zeros((count, world.states))
    for policy in reversed(policies):
        later = (policy * action_values(world, reward, later)).sum(axis=-1)
    return later @ world.start


def joint(world: World, policy: Policy) -> Joint:
    """π(a | s) = Π_i π_i(a_i | s) of the joint actions."""
    each = [policy[agent][:, world.choices[:, agent]] for agent in range(world.agents)]
    return np.prod(each, axis=0)


def values_of(
    world: World, policy: Policy, reward: Rewards
) -> tuple[Float[np.ndarray, "time batch state joint"], Float[np.ndarray, "time batch state"]]:
    """Q_t(s, a) and V_t(s) of a policy that does not change over time."""
    mixed, later = joint(world, policy), np.zeros((len(reward), world.states))
    actions, states = [], []
    for _ in range(world.horizon):
        actions.append(action_values(world, reward, later))
        later = (mixed * actions[-1]).sum(axis=-1)
        states.append(later)
    return np.array(actions[::-1]), np.array(states[::-1])


def own_values(
    world: World, policy: Policy, values: Float[np.ndarray, "*batch state joint"], agent: int
) -> Float[np.ndarray, "*batch state action"]:
    """E[Q(s, a) | a_i] for each action of one agent, over what the others choose."""
    others = np.ones((world.states, len(world.choices)))
    for other in range(world.agents):
        if other != agent:
            others = others * policy[other][:, world.choices[:, other]]
    taken = world.choices[:, agent][:, None] == np.arange(world.actions)
    return np.einsum("...sj,sj,ja->...sa", values, others, taken, optimize=True)


def advantages(world: World, policy: Policy) -> Float[np.ndarray, "time state joint agent"]:
    """What each agent's own choice adds: Q_t(s, a) − Σ_b π_i(b | s) Q_t(s, a with b for a_i); alone Q − V."""
    values = values_of(world, policy, world.reward.sum(axis=1)[None])[0][:, 0]
    power = world.actions ** np.arange(world.agents)[::-1]
    found = []
    for agent in range(world.agents):
        mean = np.zeros_like(values)
        for action in range(world.actions):
            swapped = np.arange(len(world.choices)) + (action - world.choices[:, agent]) * power[agent]
            mean += policy[agent][:, action][None, :, None] * values[:, :, swapped]
        found.append(values - mean)
    return np.stack(found, axis=-1)


def visits(world: World, policy: Policy) -> Float[np.ndarray, "time state"]:
    """The probability of being in each state at each time, with the episode not over yet."""
    mixed, here, found = joint(world, policy), world.start, []
    for _ in range(world.horizon):
        found.append(here)
        flow = (here[:, None] * mixed)[world.source, world.action] * world.probability * ~world.over
        here = np.bincount(world.target, flow, minlength=world.states)
    return np.array(found)


def gradient(
    world: World, policy: Policy, reward: Float[np.ndarray, "batch transition agent"]
) -> Float[np.ndarray, "batch agent state action"]:
    """The policy gradient that rewards imply: of the sum of each agent's own rewards, by the logits of its policy.

    For a softmax policy it is Σ_t d_t(s) π_i(a | s) (E[Q_i,t(s, a) | a_i] − V_i,t(s)) (Sutton et al. 2000).
    """
    seen, found = visits(world, policy), []
    for agent in range(world.agents):
        values, mean = values_of(world, policy, reward[..., agent])
        gain = own_values(world, policy, values, agent) - mean[..., None]
        found.append(np.einsum("ts,sa,tbsa->bsa", seen, policy[agent], gain, optimize=True))
    return np.stack(found, axis=1)


def true_gradient(world: World, policy: Policy) -> Float[np.ndarray, "agent state action"]:
    """The gradient of the expected return of the team by the logits of every agent."""
    total = world.reward.sum(axis=1)
    return gradient(world, policy, np.repeat(total[None, :, None], world.agents, axis=2))[0]


def softened(world: World, sharpness: float) -> Policy:
    """Policies from random (0) to good: π_i ∝ exp(sharpness · gain), with what the best plan gains by each action.

    The gain is the mean over time of Q*(s, a) with the others at their best, in units of the mean distance between
    the best action and the average one.
    """
    values = best_values(world).mean(axis=0)
    acts = np.zeros(world.states, bool)
    acts[world.source] = True
    found = []
    for agent in range(world.agents):
        own = np.stack(
            [values[:, world.choices[:, agent] == action].max(axis=1) for action in range(world.actions)],
            axis=1,
        )
        gap = (own.max(axis=1) - own.mean(axis=1))[acts].mean()
        logits = sharpness * (own - own.max(axis=1, keepdims=True)) / (gap if gap > 0 else 1.0)
        weight = np.exp(logits)
        found.append(weight / weight.sum(axis=1, keepdims=True))
    return np.array(found)
