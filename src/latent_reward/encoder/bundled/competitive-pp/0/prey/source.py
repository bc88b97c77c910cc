def evaluation_func(observation, action):
    observation = np.clip(observation, -100.0, 100.0)
    velocity = observation[:, 0:2]
    predators = observation[:, 10:20].reshape(-1, 5, 2)

    distances = np.sqrt(np.sum(predators**2, axis=2) + 1e-9)
    nearest = distances[:, 0:1]

    caught = -np.sum(np.where(distances < 0.125, 1.0, 0.0), axis=1, keepdims=True)
    danger = -np.exp(-nearest / 0.2)
    pressure = -np.sum(np.exp(-distances / 0.4), axis=1, keepdims=True)
    distance = np.minimum(nearest, 2.0)

    away_from_nearest = -np.sum(velocity * predators[:, 0], axis=1, keepdims=True) / (nearest + 0.05)
    centre = np.mean(predators, axis=1)
    spread = np.sqrt(np.sum(centre**2, axis=1, keepdims=True) + 1e-9)
    away_from_pack = -np.sum(velocity * centre, axis=1, keepdims=True) / (spread + 0.05)

    return [caught, danger, pressure, distance, away_from_nearest, away_from_pack]
