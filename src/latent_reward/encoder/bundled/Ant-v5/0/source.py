def evaluation_func(observation, action):
    observation = np.clip(observation, -1e3, 1e3)
    torque = np.clip(action, -1.0, 1.0)
    height = observation[:, 0:1]
    x, y = np.clip(observation[:, 2:3], -1.0, 1.0), np.clip(observation[:, 3:4], -1.0, 1.0)
    contact = np.clip(observation[:, 27:105], -1.0, 1.0)

    # Velocity of the torso along x, in m/s; it never saturates.
    forward_velocity = np.clip(observation[:, 13:14], -50.0, 50.0)

    # Negative size of the velocity across the wanted direction.
    sideways = -np.abs(np.clip(observation[:, 14:15], -50.0, 50.0))

    # 1 while the height of the torso is within 0.2 to 1 m, 0 outside.
    in_limits = np.where((height > 0.2) & (height < 1.0), 1.0, 0.0)

    # Height of the vertical axis of the torso: 1 when upright, -1 when upside down.
    upright = 1.0 - 2.0 * (x ** 2 + y ** 2)

    # Negative sum of the squared torques, as a share of its largest value.
    torque_cost = -np.mean(torque ** 2, axis=1, keepdims=True)

    # Negative sum of the squared contact loads, a tenth of it.
    ground_force = -np.sum(contact ** 2, axis=1, keepdims=True) / 10.0

    return [forward_velocity, sideways, in_limits, upright, torque_cost, ground_force]
