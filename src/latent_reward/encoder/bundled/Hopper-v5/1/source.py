def evaluation_func(observation, action):
    torso_height = np.clip(observation[:, 0:1], 0.0, 3.0)
    torso_pitch = np.clip(observation[:, 1:2], -4.0, 4.0)
    knee = np.clip(observation[:, 3:4], -4.0, 4.0)
    x_velocity = np.clip(observation[:, 5:6], -10.0, 10.0)
    z_velocity = np.clip(observation[:, 6:7], -10.0, 10.0)
    pitch_rate = np.clip(observation[:, 7:8], -10.0, 10.0)
    joint_velocity = np.clip(observation[:, 8:11], -10.0, 10.0)
    action = np.clip(action, -1.0, 1.0)

    # Forward velocity of the torso in units of 1.5 m/s.
    speed = x_velocity / 1.5

    height_gate = 1.0 / (1.0 + np.exp(-np.clip((torso_height - 0.7) / 0.002, -50.0, 50.0)))
    pitch_gate = 1.0 / (1.0 + np.exp(-np.clip((0.2 - np.abs(torso_pitch)) / 0.002, -50.0, 50.0)))
    # 1 when height and pitch are within the limits of a fall, 0 outside, with narrow soft edges.
    healthy = height_gate * pitch_gate

    # Negative, saturating tilt of the torso a tenth of a second ahead.
    tipping = -np.tanh(np.abs(torso_pitch + 0.1 * pitch_rate) / 0.2)

    # Angle of the knee: 0 when the leg is stretched, negative when bent.
    leg_extension = knee

    # Negative velocity of falling; 0 while the torso rises.
    drop = np.minimum(z_velocity, 0.0)

    # Negative mean square of the torques.
    torque_energy = -np.sum(np.square(action), axis=1, keepdims=True) / 3.0

    # Negative mean mechanical power of the joints.
    joint_power = -np.mean(np.abs(action * joint_velocity), axis=1, keepdims=True)

    return [speed, healthy, tipping, leg_extension, drop, torque_energy, joint_power]
