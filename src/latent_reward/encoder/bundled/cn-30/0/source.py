def evaluation_func(observation, action):
    observation = np.clip(observation, -1e3, 1e3)
    velocity = observation[:, 0:2]
    landmark = observation[:, 4:6]
    other_x = observation[:, 16:26:2]
    other_y = observation[:, 17:26:2]

    other_distances = np.sqrt(other_x ** 2 + other_y ** 2 + 1e-8)

    # Negative distance to the nearest landmark.
    nearest_landmark = -np.sqrt(np.sum(landmark ** 2, axis=1, keepdims=True) + 1e-8)
    # 1 on the nearest landmark, falling by a factor e every 0.2 m.
    on_landmark = np.exp(nearest_landmark / 0.2)
    # Minus the number of agents in sight that this one touches.
    collisions = -np.sum(np.where(other_distances <= 0.3, 1.0, 0.0), axis=1, keepdims=True)
    # Minus how many agents are close by, counted with a soft edge.
    crowding = -np.sum(np.exp(-other_distances / 0.3), axis=1, keepdims=True)
    # Negative speed of this agent.
    speed = -np.sqrt(np.sum(velocity ** 2, axis=1, keepdims=True) + 1e-8)

    return [nearest_landmark, on_landmark, collisions, crowding, speed]
