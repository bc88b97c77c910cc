def evaluation_func(observation, action):
    observation = np.clip(observation, -100.0, 100.0)
    velocity = observation[:, 0:2]
    others = observation[:, 10:20].reshape(-1, 5, 2)
    prey = observation[:, 20:22].reshape(-1, 1, 2)
    prey_velocity = observation[:, 22:24]

    distances = np.sqrt(np.sum(prey**2, axis=2) + 1e-9)
    nearest = distances[:, 0:1]

    # Negative distance to the nearest prey.
    prey_distance = -nearest
    # Number of prey within the catching distance of this predator, five for each.
    caught = 5.0 * np.sum(np.where(distances < 0.125, 1.0, 0.0), axis=1, keepdims=True)
    # 1 at the nearest prey, falling exponentially with the distance.
    closeness = np.exp(-nearest / 0.3)

    pack = np.sqrt(np.sum((others - prey[:, 0:1]) ** 2, axis=2) + 1e-9)
    # How close the other predators in sight are to the same prey: 1 at it, 0 far away.
    pack_closeness = np.mean(np.exp(-pack / 0.3), axis=1, keepdims=True)

    closing = np.sum((velocity - prey_velocity) * prey[:, 0], axis=1, keepdims=True)
    # Speed at which the distance to the nearest prey shrinks.
    closing_speed = closing / (nearest + 0.05)

    # How many of the others have the prey within half a metre, with a soft edge.
    around = 1.0 / (1.0 + np.exp(np.clip((pack - 0.5) / 0.05, -30.0, 30.0)))
    # A third of the number of other predators near the prey, counted with a soft edge.
    surrounding = np.sum(around, axis=1, keepdims=True) / 3.0

    return [prey_distance, caught, closeness, pack_closeness, closing_speed, surrounding]
