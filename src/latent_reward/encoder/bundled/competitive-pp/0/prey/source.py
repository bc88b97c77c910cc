def evaluation_func(observation, action):
    observation = np.clip(observation, -100.0, 100.0)
    velocity = observation[:, 0:2]
    predators = observation[:, 10:20].reshape(-1, 5, 2)

    distances = np.sqrt(np.sum(predators**2, axis=2) + 1e-9)
    nearest = distances[:, 0:1]

    # Minus the number of predators within the catching distance.
    caught = -np.sum(np.where(distances < 0.125, 1.0, 0.0), axis=1, keepdims=True)
    # Minus the closeness of the nearest predator: -1 at it, 0 far away.
    danger = -np.exp(-nearest / 0.2)
    # Minus the closeness of all predators in sight, added up.
    pressure = -np.sum(np.exp(-distances / 0.4), axis=1, keepdims=True)
    # Distance to the nearest predator, at most 2.
    distance = np.minimum(nearest, 2.0)

    # Speed away from the nearest predator.
    away_from_nearest = -np.sum(velocity * predators[:, 0], axis=1, keepdims=True) / (nearest + 0.05)
    centre = np.mean(predators, axis=1)
    spread = np.sqrt(np.sum(centre**2, axis=1, keepdims=True) + 1e-9)
    # Speed away from the centre of the predators.
    away_from_pack = -np.sum(velocity * centre, axis=1, keepdims=True) / (spread + 0.05)

    return [caught, danger, pressure, distance, away_from_nearest, away_from_pack]
