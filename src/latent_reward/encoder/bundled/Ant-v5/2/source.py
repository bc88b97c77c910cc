def evaluation_func(observation, action):
    w, x = np.clip(observation[:, 1:2], -1.0, 1.0), np.clip(observation[:, 2:3], -1.0, 1.0)
    y, z = np.clip(observation[:, 3:4], -1.0, 1.0), np.clip(observation[:, 4:5], -1.0, 1.0)
    v_x = np.clip(observation[:, 13:14], -50.0, 50.0)
    v_y = np.clip(observation[:, 14:15], -50.0, 50.0)
    turn = np.clip(observation[:, 18:19], -50.0, 50.0)
    rates = np.clip(observation[:, 19:27], -50.0, 50.0)

    # Velocity of the torso along x in units of 1.5 m/s.
    running = v_x / 1.5

    # Share of the motion that goes along x: 1 straight ahead, -1 straight back.
    course = v_x / np.sqrt(v_x ** 2 + v_y ** 2 + 0.01)

    # Component along x of the direction in which the torso faces.
    facing = w ** 2 + x ** 2 - y ** 2 - z ** 2

    # Negative size of the turning rate of the torso.
    turning = -np.abs(turn) / 2.0

    diagonal = rates[:, 0:1] + rates[:, 4:5]
    other_diagonal = rates[:, 2:3] + rates[:, 6:7]
    # Positive when the two diagonal pairs of hips swing in opposite directions.
    trot = np.tanh(-diagonal * other_diagonal / 20.0)

    # Mean size of the joint velocities, saturating at 1.
    liveliness = np.tanh(np.mean(np.abs(rates), axis=1, keepdims=True) / 4.0)

    return [running, course, facing, turning, trot, liveliness]
