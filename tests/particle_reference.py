"""The particle worlds once more, as slow loops over float64 numbers, to compare the compiled ones with."""

import math

import numpy as np


def distance(a, b):
    return math.hypot(*(np.asarray(b) - a))


def move(position, velocity, landmark, force, touch, touch_landmark=None, top_speed=None):
    """Positions and velocities a step later; ``touch(i, j)`` is the distance at which i and j meet."""
    after, speed_after = [], []
    for i, here in enumerate(position):
        total = np.array(force[i], dtype=float)
        others = [(p, touch(i, j)) for j, p in enumerate(position) if j != i]
        if touch_landmark is not None:
            others += [(p, touch_landmark(i, j)) for j, p in enumerate(landmark)]
        for there, limit in others:
            d = distance(here, there)
            total += 100.0 * (here - there) / d * 0.001 * np.logaddexp(0.0, (limit - d) / 0.001)
        v = 0.75 * velocity[i] + 0.1 * total
        if top_speed is not None and math.hypot(*v) > top_speed[i]:
            v = v / math.hypot(*v) * top_speed[i]
        speed_after.append(v)
        after.append(here + 0.1 * v)
    return np.array(after), np.array(speed_after)


def force_of(action, strength):
    table = {0: (0, 0), 1: (-1, 0), 2: (1, 0), 3: (0, -1), 4: (0, 1)}
    return np.array([np.multiply(table[int(a)], s) for a, s in zip(action, strength, strict=True)])


def seen(here, points, count):
    """Indices of the nearest ``points``, those at exactly this place left out."""
    order = sorted((distance(here, p), j) for j, p in enumerate(points) if distance(here, p) > 0)
    return [j for _, j in order[:count]]


def cn_observation(position, velocity, landmark):
    rows = []
    for here, v in zip(position, velocity, strict=True):
        row = [*v, *here]
        for points, count in ((landmark, 6), (position, 5)):
            for j in seen(here, points, count):
                row += list(points[j] - here)
        rows.append(row)
    return np.array(rows)


def cn_reward(position, landmark):
    rewards = []
    for i, here in enumerate(position):
        hits = [j for j, there in enumerate(position) if j != i and distance(here, there) < 0.3]
        rewards.append(-min(distance(here, each) for each in landmark) - len(hits))
    return np.array(rewards)


def pp_observation(position, velocity, landmark, predators, counts, who):
    """Of the agents ``who``; ``counts`` are numbers of landmarks, predators and prey they see."""
    n_landmarks, n_predators, n_prey = counts
    hunters, hunted, hunted_velocity = position[:predators], position[predators:], velocity[predators:]
    rows = []
    for i in who:
        here, row = position[i], [*velocity[i], *position[i]]
        for points, count in ((landmark, n_landmarks), (hunters, n_predators), (hunted, n_prey)):
            for j in seen(here, points, count):
                row += list(points[j] - here)
        for j in seen(here, hunted, n_prey):
            row += list(hunted_velocity[j])
        rows.append(row)
    return np.array(rows)


def pp_reward(position, predators, catch):
    hunters, hunted = position[:predators], position[predators:]
    rewards = [
        10.0 * sum(distance(h, p) < catch for p in hunted) - 0.1 * min(distance(h, p) for p in hunted)
        for h in hunters
    ]
    rewards += [-10.0 * sum(distance(h, p) < catch for h in hunters) for p in hunted]
    return np.array(rewards)


def wall(place):
    total = 0.0
    for x in np.abs(place):
        if x < 0.9:
            continue
        total += 10 * (x - 0.9) if x < 1.0 else min(math.exp(2 * x - 2), 10)
    return total


def area_observation(position, velocity, landmark):
    rows = []
    for i, here in enumerate(position):
        others = sorted(tuple(p - here) for j, p in enumerate(position) if j != i)
        rows.append([*velocity[i], *here, *(landmark - here).ravel(), *others[0], *others[1]])
    return np.array(rows)


def area_reward(position, landmark):
    a, b, c = (distance(position[i], position[j]) for i, j in ((0, 1), (1, 2), (2, 0)))
    half = (a + b + c) / 2
    heron = math.sqrt(max(half * (half - a) * (half - b) * (half - c), 0.0))
    hits = sum(distance(p, each) < 0.55 for p in position for each in landmark)
    return np.full(3, 3 * 0.1 * heron - hits)
