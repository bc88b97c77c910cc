def evaluation_func(observation, action):
    observation = np.clip(observation, -100.0, 100.0)
    velocity = observation[:, 0:2]
    target = observation[:, 4:6]
    others = observation[:, 16:26].reshape(-1, 5, 2)

    distance = np.sqrt(np.sum(target**2, axis=1, keepdims=True) + 1e-8)
    gaps = np.sqrt(np.sum(others**2, axis=2) + 1e-8)

    # Distance to the nearest landmark; lower is better.
    target_distance = distance
    # Bell around the nearest landmark: 1 on it, 0.5 at 0.15 m.
    target_reached = 1.0 / (1.0 + (distance / 0.15) ** 2)
    # Speed of this agent towards the nearest landmark.
    target_speed = np.sum(velocity * target, axis=1, keepdims=True) / (distance + 0.1)

    # The nearest of the others to the same landmark: positive if this agent is the nearer one.
    rivals = np.sqrt(np.sum((others - observation[:, None, 4:6]) ** 2, axis=2) + 1e-8)
    # Positive when this agent is nearer to its landmark than any other in sight.
    uncontested = np.tanh((np.min(rivals, axis=1, keepdims=True) - distance) / 0.3)

    # Number of agents in sight that this one touches; lower is better.
    bumps = np.sum(np.where(gaps <= 0.3, 1.0, 0.0), axis=1, keepdims=True)
    # Distance to the nearest agent beyond the touching distance; negative when touching.
    clearance = np.clip(gaps[:, 0:1] - 0.3, -0.3, 1.0)

    return [target_distance, target_reached, target_speed, uncontested, bumps, clearance]
