def evaluation_func(observation, action):
    observation = np.clip(observation, -100.0, 100.0)
    hunters = observation[:, 10:20].reshape(-1, 5, 2)

    def length(vectors):
        return np.sqrt(np.sum(vectors**2, axis=2) + 1e-9)

    now = length(hunters)
    soon = length(hunters - 0.2 * observation[:, None, 0:2])

    capture = -np.sum(1.0 / (1.0 + np.exp(np.clip((now - 0.125) / 0.0025, -30.0, 30.0))), axis=1, keepdims=True)
    log_gap = np.log(now[:, 0:1] / 0.125 + 0.1) / 2.0
    gap_soon = np.minimum(np.min(soon, axis=1, keepdims=True), 3.0) - 0.5
    left_behind = np.tanh(np.mean(now, axis=1, keepdims=True) - 1.0)
    threats = -np.sum(np.exp(-((now / 0.3) ** 2)), axis=1, keepdims=True)
    idling = -action[:, 0:1] * np.exp(-now[:, 0:1])

    return [capture, log_gap, gap_soon, left_behind, threats, idling]
