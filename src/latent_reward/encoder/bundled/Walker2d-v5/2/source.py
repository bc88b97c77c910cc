def evaluation_func(observation, action):
    height = np.clip(observation[:, 0:1], -1.0, 4.0)
    pitch = np.clip(observation[:, 1:2], -4.0, 4.0)
    v_x = np.clip(observation[:, 8:9], -10.0, 10.0)
    v_z = np.clip(observation[:, 9:10], -10.0, 10.0)
    omega = np.clip(observation[:, 10:11], -10.0, 10.0)
    torque = np.clip(action, -1.0, 1.0)

    # Forward velocity of the torso in units of 2.5 m/s.
    progress = v_x / 2.5
    # Forward velocity, counted less the further the torso is tilted.
    stable_progress = progress * np.exp(-pitch ** 2)

    # Height of the torso a tenth of a second ahead, saturating around 1 m.
    height_ahead = np.tanh((height + 0.1 * v_z - 1.0) / 0.3)
    # Negative, saturating tilt of the torso a tenth of a second ahead.
    pitch_ahead = -np.tanh(np.abs(pitch + 0.1 * omega))

    # Distance to the nearer limit of height and pitch: positive inside, negative beyond.
    safety = np.tanh(4.0 * np.minimum(height - 0.8, 1.0 - np.abs(pitch)))

    # Negative sum of the squared torques.
    total_effort = -np.sum(torque ** 2, axis=1, keepdims=True) / 4.0
    # Negative size of the largest single torque.
    peak_effort = -np.max(np.abs(torque), axis=1, keepdims=True)

    # Mean angle of the knees: 0 when straight, negative when bent.
    knee_bend = np.clip(observation[:, 3:4] + observation[:, 6:7], -8.0, 8.0) / 2.0

    return [
        progress,
        stable_progress,
        height_ahead,
        pitch_ahead,
        safety,
        total_effort,
        peak_effort,
        knee_bend,
    ]
