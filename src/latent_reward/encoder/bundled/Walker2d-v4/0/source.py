def evaluation_func(observation, action):
    height = np.clip(observation[:, 0:1], -5.0, 5.0)
    pitch = np.clip(observation[:, 1:2], -10.0, 10.0)
    velocity = np.clip(observation[:, 8:11], -10.0, 10.0)
    torque = np.clip(action, -1.0, 1.0)

    forward_velocity = velocity[:, 0:1] / 2.0
    torque_cost = -np.mean(torque ** 2, axis=1, keepdims=True)

    # Distance from falling: about 1 well inside the allowed range, about -1 outside of it.
    height_margin = np.tanh((height - 0.8) / 0.15)
    pitch_margin = np.tanh((1.0 - np.abs(pitch)) / 0.25)

    uprightness = np.cos(pitch)
    rocking = -np.abs(velocity[:, 2:3]) / 3.0
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
