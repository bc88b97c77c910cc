def evaluation_func(observation, action):
    torso_height = np.clip(observation[:, 0:1], 0.0, 3.0)
    torso_pitch = np.clip(observation[:, 1:2], -4.0, 4.0)
    x_velocity = np.clip(observation[:, 8:9], -10.0, 10.0)
    joint_velocity = np.clip(observation[:, 11:17], -10.0, 10.0)
    action = np.clip(action, -1.0, 1.0)

    # Forward velocity of the torso in units of 3 m/s.
    speed = x_velocity / 3.0

    low_gate = 1.0 / (1.0 + np.exp(-(torso_height - 0.8) / 0.05))
    high_gate = 1.0 / (1.0 + np.exp(-(2.0 - torso_height) / 0.05))
    pitch_gate = 1.0 / (1.0 + np.exp(-(1.0 - np.abs(torso_pitch)) / 0.05))
    # 1 when height and pitch are within the limits of a fall, 0 outside, with soft edges.
    healthy = low_gate * high_gate * pitch_gate

    # Height of the torso above 1 m, 1 at 1.25 m.
    standing_tall = (torso_height - 1.0) / 0.25
    # Negative square of the pitch.
    trunk_tilt = -np.square(torso_pitch)

    # Negative mean square of the torques.
    torque_energy = -np.sum(np.square(action), axis=1, keepdims=True) / 6.0
    # Negative mean mechanical power of the joints.
    joint_power = -np.mean(np.abs(action * joint_velocity), axis=1, keepdims=True) / 2.0

    # How far the two thighs are apart, saturating at 1.
    hip_split = np.tanh(np.abs(observation[:, 2:3] - observation[:, 5:6]))
    # Positive when the two hips turn in opposite directions.
    hip_alternation = np.tanh(-joint_velocity[:, 0:1] * joint_velocity[:, 3:4] / 10.0)

    return [
        speed,
        healthy,
        standing_tall,
        trunk_tilt,
        torque_energy,
        joint_power,
        hip_split,
        hip_alternation,
    ]
