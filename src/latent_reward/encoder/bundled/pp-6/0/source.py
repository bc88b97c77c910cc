def evaluation_func(observation, action):
    observation = np.clip(observation, -100.0, 100.0)
    velocity = observation[:, 0:2]
    others = observation[:, 10:20].reshape(-1, 5, 2)
    prey = observation[:, 20:24].reshape(-1, 2, 2)
    prey_velocity = observation[:, 24:26]

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

    # Negative mean distance to the other prey in sight.
    other_prey = -np.mean(distances[:, 1:], axis=1, keepdims=True)

    return [prey_distance, caught, closeness, pack_closeness, closing_speed, other_prey]
