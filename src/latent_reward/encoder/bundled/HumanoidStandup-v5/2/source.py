def evaluation_func(observation, action):
    height = np.clip(observation[:, 0:1], -1.0, 4.0)
    turn = np.clip(observation[:, 1:5], -1.0, 1.0)
    qw, qx, qy, qz = turn[:, 0:1], turn[:, 1:2], turn[:, 2:3], turn[:, 3:4]

    standing_height = 3.0 * (height - 0.1)
    head_height = 4.0 * (height + 0.3 * (qw * qy - qx * qz))
    up_stage = 1.0 / (1.0 + np.exp(-(height - 0.4) / 0.15))

    vertical_velocity = np.clip(observation[:, 24:25], -10.0, 10.0)
    push_up = (1.0 - up_stage) * vertical_velocity
    turning = np.clip(observation[:, 25:28], -30.0, 30.0)
    sway = -np.sqrt(np.mean(turning ** 2, axis=1, keepdims=True) + 1e-6) / 3.0

    joints = np.clip(np.abs(observation[:, 10:16]), 0.0, 10.0)
    hips = joints[:, 0:1] + joints[:, 4:5]
    knees = joints[:, 1:2] + joints[:, 5:6]
    folded_legs = -np.tanh((hips + knees) / 4.0)

    control_rms = -np.sqrt(np.mean(np.clip(action, -0.4, 0.4) ** 2, axis=1, keepdims=True) + 1e-8) / 0.4
    loads = np.clip(observation[:, 270:348] / 100.0, -1000.0, 1000.0)
    contact_rms = -np.sqrt(np.mean(loads ** 2, axis=1, keepdims=True) + 1e-6)

    return [
        standing_height,
        head_height,
        up_stage,
        push_up,
        sway,
        folded_legs,
        control_rms,
        contact_rms,
    ]
