def evaluation_func(observation, action):
    height = np.clip(observation[:, 0:1], -1.0, 4.0)
    turn = np.clip(observation[:, 1:5], -1.0, 1.0)
    qw, qx, qy, qz = turn[:, 0:1], turn[:, 1:2], turn[:, 2:3], turn[:, 3:4]

    # Height of the torso above its lying height, 3 per metre.
    standing_height = 3.0 * (height - 0.1)
    # Estimated height of the head, from the height and the orientation of the torso.
    head_height = 4.0 * (height + 0.3 * (qw * qy - qx * qz))
    # Smooth step from 0 to 1 as the torso rises past 0.4 m.
    up_stage = 1.0 / (1.0 + np.exp(-(height - 0.4) / 0.15))

    vertical_velocity = np.clip(observation[:, 24:25], -10.0, 10.0)
    # Upward velocity of the torso, counted in full while it is still low.
    push_up = (1.0 - up_stage) * vertical_velocity
    turning = np.clip(observation[:, 25:28], -30.0, 30.0)
    # Negative root mean square of the angular velocity of the torso.
    sway = -np.sqrt(np.mean(turning ** 2, axis=1, keepdims=True) + 1e-6) / 3.0

    joints = np.clip(np.abs(observation[:, 10:16]), 0.0, 10.0)
    hips = joints[:, 0:1] + joints[:, 4:5]
    knees = joints[:, 1:2] + joints[:, 5:6]
    # Negative, saturating sum of the angles at hips and knees; 0 with straight legs.
    folded_legs = -np.tanh((hips + knees) / 4.0)

    # Negative root mean square of the controls, as a share of their limit.
    control_rms = -np.sqrt(np.mean(np.clip(action, -0.4, 0.4) ** 2, axis=1, keepdims=True) + 1e-8) / 0.4
    loads = np.clip(observation[:, 270:348] / 100.0, -1000.0, 1000.0)
    # Negative root mean square of the contact loads on all bodies.
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
