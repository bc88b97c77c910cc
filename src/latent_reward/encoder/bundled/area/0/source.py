def evaluation_func(observation, action):
    observation = np.clip(observation, -100.0, 100.0)
    velocity = observation[:, 0:2]
    landmarks = observation[:, 4:10].reshape(-1, 3, 2)
    first, second = observation[:, 10:12], observation[:, 12:14]

    cross = first[:, 0:1] * second[:, 1:2] - first[:, 1:2] * second[:, 0:1]
    # Area of the triangle that the three agents span.
    area = np.abs(cross) / 2.0

    distances = np.sqrt(np.sum(landmarks**2, axis=2) + 1e-8)
    # Minus the number of landmarks that this agent touches.
    collisions = -np.sum(np.where(distances < 0.55, 1.0, 0.0), axis=1, keepdims=True)
    # Distance to the nearest landmark beyond the touching distance; negative when touching.
    room = np.clip(np.min(distances, axis=1, keepdims=True) - 0.55, -0.55, 1.0)

    to_first = np.sqrt(np.sum(first**2, axis=1, keepdims=True) + 1e-8)
    to_second = np.sqrt(np.sum(second**2, axis=1, keepdims=True) + 1e-8)
    between = np.sqrt(np.sum((first - second) ** 2, axis=1, keepdims=True) + 1e-8)
    # Length of the shortest side of the triangle.
    shortest_side = np.minimum(np.minimum(to_first, to_second), between)
    longest_side = np.maximum(np.maximum(to_first, to_second), between)
    # Shortest side over longest side: 1 for equal sides.
    evenness = shortest_side / (longest_side + 0.01)

    middle = first + second
    away = -np.sum(velocity * middle, axis=1, keepdims=True)
    # Speed of this agent away from the other two.
    outward_speed = away / (np.sqrt(np.sum(middle**2, axis=1, keepdims=True) + 1e-8) + 0.1)

    return [area, collisions, room, shortest_side, evenness, outward_speed]
