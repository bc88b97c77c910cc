def evaluation_func(observation, action):
    observation = np.clip(observation, -100.0, 100.0)
    ax, ay = observation[:, 10:11], observation[:, 11:12]
    bx, by = observation[:, 12:13], observation[:, 13:14]
    obstacle_x, obstacle_y = observation[:, 4:10:2], observation[:, 5:10:2]

    twice = np.abs(ax * by - ay * bx)
    # Area of the triangle that the three agents span.
    triangle = 0.5 * twice
    # Logarithm of the area, which tells small triangles apart.
    log_triangle = np.log(triangle + 0.05) / 3.0

    arms = np.sqrt((ax**2 + ay**2) * (bx**2 + by**2) + 1e-6)
    # Sine of the angle at this corner: 0 when the three agents are in one line.
    corner_sine = twice / arms
    # Distance of this agent from the centre of the three.
    from_centroid = np.sqrt((ax + bx) ** 2 + (ay + by) ** 2 + 1e-8) / 3.0

    distance = np.sqrt(obstacle_x**2 + obstacle_y**2 + 1e-8)
    step = 1.0 / (1.0 + np.exp(np.clip((distance - 0.55) / 0.005, -30.0, 30.0)))
    # Minus the number of landmarks that this agent touches, with a steep smooth edge.
    touched = -np.sum(step, axis=1, keepdims=True)
    # Minus how deep this agent is inside the landmarks it touches.
    depth = -np.sum(np.maximum(0.55 - distance, 0.0), axis=1, keepdims=True) / 0.55

    inward = observation[:, 0:1] * (ax + bx) + observation[:, 1:2] * (ay + by)
    # Speed of this agent away from the centre of the three.
    spreading = -inward / (3.0 * from_centroid + 0.1)

    return [triangle, log_triangle, corner_sine, from_centroid, touched, depth, spreading]
