def evaluation_func(observation, action):
    observation = np.clip(observation, -100.0, 100.0)
    ax, ay = observation[:, 10:11], observation[:, 11:12]
    bx, by = observation[:, 12:13], observation[:, 13:14]
    obstacle_x, obstacle_y = observation[:, 4:10:2], observation[:, 5:10:2]

    twice = np.abs(ax * by - ay * bx)
    triangle = 0.5 * twice
    log_triangle = np.log(triangle + 0.05) / 3.0

    arms = np.sqrt((ax**2 + ay**2) * (bx**2 + by**2) + 1e-6)
    corner_sine = twice / arms
    from_centroid = np.sqrt((ax + bx) ** 2 + (ay + by) ** 2 + 1e-8) / 3.0

    distance = np.sqrt(obstacle_x**2 + obstacle_y**2 + 1e-8)
    step = 1.0 / (1.0 + np.exp(np.clip((distance - 0.55) / 0.005, -30.0, 30.0)))
    touched = -np.sum(step, axis=1, keepdims=True)
    depth = -np.sum(np.maximum(0.55 - distance, 0.0), axis=1, keepdims=True) / 0.55

    inward = observation[:, 0:1] * (ax + bx) + observation[:, 1:2] * (ay + by)
    spreading = -inward / (3.0 * from_centroid + 0.1)

    return [triangle, log_triangle, corner_sine, from_centroid, touched, depth, spreading]
