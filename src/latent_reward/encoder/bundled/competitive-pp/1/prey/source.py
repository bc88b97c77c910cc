def evaluation_func(observation, action):
    observation = np.clip(observation, -100.0, 100.0)
    x, y = observation[:, 10:20:2], observation[:, 11:20:2]
    gap = np.sqrt(x**2 + y**2 + 1e-9)

    # Number of predators within the catching distance; lower is better.
    touching_predators = np.sum((gap < 0.125) * 1.0, axis=1, keepdims=True)
    # Distance to the nearest predator beyond the catching distance, saturating at 1.
    margin = np.tanh((np.min(gap, axis=1, keepdims=True) - 0.125) / 0.3)
    # Distance to the second nearest predator beyond the catching distance, saturating at 1.
    second_margin = np.tanh((gap[:, 1:2] - 0.125) / 0.5)

    # Unit vectors to the predators add up to little if these are on all sides.
    weight = np.exp(-gap / 0.8) + 1e-3
    east = np.sum(weight * x / (gap + 0.01), axis=1, keepdims=True)
    north = np.sum(weight * y / (gap + 0.01), axis=1, keepdims=True)
    # 1 when all predators are on one side, near 0 when they surround the prey.
    one_sided = np.sqrt(east**2 + north**2 + 1e-9) / np.sum(weight, axis=1, keepdims=True)

    # Speed of this prey.
    speed = np.sqrt(np.sum(observation[:, 0:2] ** 2, axis=1, keepdims=True) + 1e-9)
    to_landmark = np.sqrt(np.sum(observation[:, 4:6] ** 2, axis=1, keepdims=True) + 1e-9)
    # Closeness of the nearest landmark: 1 at its centre, 0 far away.
    blocked = np.exp(-to_landmark / 0.3)
    to_companion = np.sqrt(np.sum(observation[:, 20:22] ** 2, axis=1, keepdims=True) + 1e-9)
    # Distance to the nearest other prey, saturating at 1.
    companion_apart = np.tanh(to_companion)

    return [touching_predators, margin, second_margin, one_sided, speed, blocked, companion_apart]
