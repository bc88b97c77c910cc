def evaluation_func(observation, action):
    height = np.clip(observation[:, 0:1], -1.0, 4.0)
    pitch = np.clip(observation[:, 1:2], -4.0, 4.0)
    hip = np.clip(observation[:, 2:3], -4.0, 4.0)
    knee = np.clip(observation[:, 3:4], -4.0, 4.0)
    v_x = np.clip(observation[:, 5:6], -10.0, 10.0)
    v_z = np.clip(observation[:, 6:7], -10.0, 10.0)
    joint_rates = np.clip(observation[:, 8:11], -10.0, 10.0)

    # Horizontal velocity of the torso in units of 2.5 m/s.
    progress = v_x / 2.5

    # The same, counted less the further the torso is tilted.
    upright_progress = progress * np.exp(-((pitch / 0.3) ** 2))

    # Height of the torso above 1 m, in units of 0.25 m.
    tallness = (height - 1.0) / 0.25

    # Size of the vertical velocity, saturating at 1.
    bounce = np.tanh(np.abs(v_z))

    # Horizontal distance from hip to ankle; negative when the leg trails behind.
    foot_reach = 0.45 * np.sin(hip - pitch) + 0.5 * np.sin(hip + knee - pitch)

    # Negative mean size of the joint velocities.
    joint_calm = -np.mean(np.abs(joint_rates), axis=1, keepdims=True) / 5.0

    return [progress, upright_progress, tallness, bounce, foot_reach, joint_calm]
