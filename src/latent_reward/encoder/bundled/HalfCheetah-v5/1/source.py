def evaluation_func(observation, action):
    height_offset = np.clip(observation[:, 0:1], -2.0, 2.0)
    pitch = np.clip(observation[:, 1:2], -10.0, 10.0)
    x_velocity = np.clip(observation[:, 8:9], -50.0, 50.0)
    pitch_rate = np.clip(observation[:, 10:11], -50.0, 50.0)
    joint_velocity = np.clip(observation[:, 11:17], -100.0, 100.0)
    torque = np.clip(action, -1.0, 1.0)

    # Forward velocity of the torso in units of 2 m/s.
    forward_pace = x_velocity / 2.0

    squared_torque = np.square(torque)
    # Negative sum of the squared torques.
    energy_penalty = -np.sum(squared_torque, axis=1, keepdims=True) / 3.0
    # Negative mean of the torques to the fourth power, which singles out torques at their limits.
    saturation_penalty = -np.mean(np.square(squared_torque), axis=1, keepdims=True)

    power = np.abs(torque * joint_velocity)
    # Negative logarithm of the mechanical power of all joints.
    power_penalty = -np.log1p(np.sum(power, axis=1, keepdims=True) / 6.0)

    # Bell around a level torso: 1 at pitch 0 and nearly 0 beyond 1 rad.
    balance_score = np.exp(-0.5 * np.square(pitch / 0.5))
    # Bell around the resting height of the torso.
    height_score = np.exp(-np.square(height_offset / 0.3))
    # Negative, saturating size of the pitch rate.
    spin_penalty = -np.tanh(np.abs(pitch_rate) / 6.0)

    # Positive when the front thigh swings towards larger angles faster than the back thigh.
    gallop_score = np.tanh((joint_velocity[:, 3:4] - joint_velocity[:, 0:1]) / 10.0)

    return [
        forward_pace,
        energy_penalty,
        saturation_penalty,
        power_penalty,
        balance_score,
        height_score,
        spin_penalty,
        gallop_score,
    ]
