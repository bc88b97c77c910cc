def evaluation_func(observation, action):
    observation = np.clip(observation, -100.0, 100.0)
    speed = np.sqrt(np.sum(observation[:, 0:2] ** 2, axis=1, keepdims=True) + 1e-8)
    landmarks = observation[:, 4:10].reshape(-1, 3, 1, 2)
    others = observation[:, 16:26].reshape(-1, 1, 5, 2)

    own = np.sqrt(np.sum(landmarks[:, :, 0] ** 2, axis=2) + 1e-8)
    theirs = np.sqrt(np.sum((landmarks - others) ** 2, axis=3) + 1e-8)
    served_from = np.minimum(own, np.min(theirs, axis=2))
    apart = np.sqrt(np.sum(others[:, 0] ** 2, axis=2) + 1e-8)

    # Negative mean distance from the three nearest landmarks to whoever is closest to each.
    landmarks_served = -np.mean(served_from, axis=1, keepdims=True)
    # Negative distance to the nearest landmark.
    own_distance = -own[:, 0:1]
    # 1 when this agent rests on its nearest landmark, near 0 when far away or fast.
    settled = np.exp(-own[:, 0:1] / 0.2 - speed)

    # Minus the number of agents in sight that this one touches.
    overlapping = -np.sum((apart <= 0.3) * 1.0, axis=1, keepdims=True)
    # Minus how deeply this agent overlaps with those that it touches.
    overlap_depth = -np.sum(np.maximum(0.3 - apart, 0.0) / 0.3, axis=1, keepdims=True)
    # Negative speed of this agent, counted only when another is close.
    rush = -speed * np.exp(-apart[:, 0:1] / 0.5)

    return [landmarks_served, own_distance, settled, overlapping, overlap_depth, rush]
