def evaluation_func(observation, action):
    angle_1 = np.clip(observation[:, 1:2], -4.0, 4.0)
    angle_2 = np.clip(observation[:, 2:3], -4.0, 4.0)
    v_x = np.clip(observation[:, 3:4], -20.0, 20.0)
    v_y = np.clip(observation[:, 4:5], -20.0, 20.0)
    rate_1 = np.clip(observation[:, 6:7], -50.0, 50.0)
    rate_2 = np.clip(observation[:, 7:8], -50.0, 50.0)
    torque = np.clip(action, -1.0, 1.0)

    # Velocity of the front link along x, in m/s.
    advance = v_x

    # Share of the motion that goes along x: 1 straight ahead, -1 straight back.
    directness = v_x / np.sqrt(v_x ** 2 + v_y ** 2 + 0.01)

    # Sense in which the two joint angles circle; its sign tells the direction of the body wave.
    body_wave = np.tanh((angle_1 * rate_2 - angle_2 * rate_1) / 3.0)

    # How strongly both joints move, saturating at 1.
    stroke = np.tanh(np.sqrt(rate_1 ** 2 + rate_2 ** 2 + 1e-6) / 4.0)

    # Negative square of the torque at the first joint.
    front_effort = -np.square(torque[:, 0:1])

    # Negative square of the torque at the second joint.
    rear_effort = -np.square(torque[:, 1:2])

    return [advance, directness, body_wave, stroke, front_effort, rear_effort]
