def evaluation_func(observation, action):
    observation = np.clip(observation, -100.0, 100.0)
    velocity = observation[:, 0:2]
    landmark = observation[:, 4:6]
    mates = observation[:, 10:20].reshape(-1, 5, 2)
    prey = observation[:, 20:22].reshape(-1, 1, 2)
    motion = observation[:, 22:24].reshape(-1, 1, 2)

    def norm(vectors):
        return np.sqrt(np.sum(vectors**2, axis=-1) + 1e-9)

    gap = norm(prey)
    ahead = prey + 0.2 * motion
    aim = ahead[:, 0]

    # Distance to the nearest prey; lower is better.
    gap_to_prey = np.min(gap, axis=1, keepdims=True)
    # Number of prey within the catching distance of this predator.
    touching = np.sum((gap < 0.125) * 1.0, axis=1, keepdims=True)
    # Smallest distance from here to where the prey in sight will be a moment later.
    gap_ahead = np.min(norm(ahead), axis=1, keepdims=True)

    product = norm(velocity) * norm(aim) + 0.01
    # Cosine between the motion of this predator and the way to the prey a moment later.
    heading = (np.sum(velocity * aim, axis=1) / product)[:, None]

    # From the prey, the bearing of this predator against that of its fellows: -1 on the same side, 1 opposite.
    centre = np.mean(mates, axis=1) - prey[:, 0]
    # Position against the other predators, seen from the prey: 1 opposite, -1 on the same side.
    flanking = (np.sum(centre * prey[:, 0], axis=1) / (norm(centre) * gap[:, 0] + 0.0125))[:, None]

    # Distance to the nearest other predator, saturating at 1.
    elbow_room = np.tanh(norm(mates[:, 0]) / 0.3)[:, None]
    # Minus how close the nearest landmark is: -1 at its centre, 0 far away.
    obstacle = -np.exp(-norm(landmark) / 0.3)[:, None]

    return [gap_to_prey, touching, gap_ahead, heading, flanking, elbow_room, obstacle]
