def evaluation_func(observation, action):
    height = np.clip(observation[:, 0:1], -5.0, 5.0)
    pitch = np.clip(observation[:, 1:2], -10.0, 10.0)
    velocity = np.clip(observation[:, 5:8], -10.0, 10.0)
    torque = np.clip(action, -1.0, 1.0)

    # Forward velocity of the torso in units of 2 m/s.
    forward_velocity = velocity[:, 0:1] / 2.0

    # 1 while height and pitch are within the limits of a fall, 0 outside.
    standing = np.where((height > 0.7) & (np.abs(pitch) < 0.2), 1.0, 0.0)

    # Height of the torso above its lower limit, in units of 0.5 m: about 1 when standing.
    height_reserve = (height - 0.7) / 0.5

    # Distance of the pitch from its limits: 1 well inside, negative outside.
    pitch_margin = np.tanh((0.2 - np.abs(pitch)) / 0.08)

    # Negative size of the pitch rate.
    rocking = -np.abs(velocity[:, 2:3]) / 2.0

    # Negative mean square of the torques.
    torque_cost = -np.mean(torque ** 2, axis=1, keepdims=True)

    return [forward_velocity, standing, height_reserve, pitch_margin, rocking, torque_cost]
