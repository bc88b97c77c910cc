def evaluation_func(observation, action):
    observation = np.clip(observation, -1e3, 1e3)
    velocity = observation[:, 0:2]
    landmark_x = observation[:, 4:16:2]
    landmark_y = observation[:, 5:16:2]
    other_x = observation[:, 16:26:2]
    other_y = observation[:, 17:26:2]

    landmark_distances = np.sqrt(landmark_x ** 2 + landmark_y ** 2 + 1e-8)
    other_distances = np.sqrt(other_x ** 2 + other_y ** 2 + 1e-8)

    nearest_landmark = -np.min(landmark_distances, axis=1, keepdims=True)
    on_landmark = np.exp(nearest_landmark / 0.1)
    landmarks_around = -np.mean(landmark_distances, axis=1, keepdims=True)
    collisions = -np.sum(np.where(other_distances <= 0.3, 1.0, 0.0), axis=1, keepdims=True)
    crowding = -np.sum(np.exp(-other_distances / 0.3), axis=1, keepdims=True)
    speed = -np.sqrt(np.sum(velocity ** 2, axis=1, keepdims=True) + 1e-8)

    return [nearest_landmark, on_landmark, landmarks_around, collisions, crowding, speed]
