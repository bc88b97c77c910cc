def evaluation_func(observation, action):
    height = np.clip(observation[:, 0:1], -1.0, 4.0)
    qx, qy = np.clip(observation[:, 2:3], -1.0, 1.0), np.clip(observation[:, 3:4], -1.0, 1.0)
    v_x = np.clip(observation[:, 22:23], -20.0, 20.0)
    v_y = np.clip(observation[:, 23:24], -20.0, 20.0)
    right_hip, left_hip = observation[:, 10:11], observation[:, 14:15]
    right_rate = np.clip(observation[:, 33:34], -50.0, 50.0)
    left_rate = np.clip(observation[:, 37:38], -50.0, 50.0)
    knees = np.clip(observation[:, 11:12] + observation[:, 15:16], -8.0, 8.0)

    # Velocity of the torso along x, in m/s.
    torso_speed = v_x

    # Negative size of the velocity of the torso along y.
    drift = -np.abs(v_y)

    # Height of the torso above 1 m, in units of 0.4 m.
    standing_tall = (height - 1.0) / 0.4

    # Height of the direction from torso to head: 1 when upright, 0 when lying.
    head_up = 1.0 - 2.0 * (qx ** 2 + qy ** 2)

    # How far the thighs are apart, saturating at 1.
    stride = np.tanh(2.0 * np.abs(right_hip - left_hip))

    # Positive when the hips swing in opposite directions.
    alternation = np.tanh(-right_rate * left_rate / 10.0)

    # Mean angle of the knees: 0 when straight, negative when bent.
    knee_bend = knees / 2.0

    return [torso_speed, drift, standing_tall, head_up, stride, alternation, knee_bend]
