def evaluation_func(observation, action):
    observation = np.clip(observation, -100.0, 100.0)
    hunters = observation[:, 10:20].reshape(-1, 5, 2)

    def length(vectors):
        return np.sqrt(np.sum(vectors**2, axis=2) + 1e-9)

    now = length(hunters)
    soon = length(hunters - 0.2 * observation[:, None, 0:2])

    # Minus the number of predators within the catching distance, with a steep smooth edge.
    capture = -np.sum(1.0 / (1.0 + np.exp(np.clip((now - 0.125) / 0.0025, -30.0, 30.0))), axis=1, keepdims=True)
    # Logarithm of the distance to the nearest predator.
    log_gap = np.log(now[:, 0:1] / 0.125 + 0.1) / 2.0
    # Distance to the nearest predator a moment later, if the predators stand still.
    gap_soon = np.minimum(np.min(soon, axis=1, keepdims=True), 3.0) - 0.5
    # Mean distance to the predators in sight, saturating; 0 at 1 m.
    left_behind = np.tanh(np.mean(now, axis=1, keepdims=True) - 1.0)
    # Minus a sum of bells around the predators in sight.
    threats = -np.sum(np.exp(-((now / 0.3) ** 2)), axis=1, keepdims=True)
    # Below 0 when the prey chooses not to push although a predator is near.
    idling = -action[:, 0:1] * np.exp(-now[:, 0:1])

    return [capture, log_gap, gap_soon, left_behind, threats, idling]
