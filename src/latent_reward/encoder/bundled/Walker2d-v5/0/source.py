def evaluation_func(observation, action):
    height = np.clip(observation[:, 0:1], -5.0, 5.0)
    pitch = np.clip(observation[:, 1:2], -10.0, 10.0)
    velocity = np.clip(observation[:, 8:11], -10.0, 10.0)
    torque = np.clip(action, -1.0, 1.0)

    # Forward velocity of the torso in units of 2 m/s.
    forward_velocity = velocity[:, 0:1] / 2.0
    # Negative mean square of the torques.
    torque_cost = -np.mean(torque ** 2, axis=1, keepdims=True)

    # Distance of the height from its lower limit: 1 well inside, negative below it.
    height_margin = np.tanh((height - 0.8) / 0.15)
    # Distance of the pitch from its limits: 1 well inside, negative outside of them.
    pitch_margin = np.tanh((1.0 - np.abs(pitch)) / 0.25)

    # Cosine of the pitch: 1 when the torso is upright.
    uprightness = np.cos(pitch)
    # Negative size of the pitch rate.
    rocking = -np.abs(velocity[:, 2:3]) / 3.0
    # Negative size of the vertical velocity.
    vertical_motion = -np.abs(velocity[:, 1:2])

    return [
        forward_velocity,
        torque_cost,
        height_margin,
        pitch_margin,
        uprightness,
        rocking,
        vertical_motion,
    ]
