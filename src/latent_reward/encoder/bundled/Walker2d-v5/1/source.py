def evaluation_func(observation, action):
    torso_height = np.clip(observation[:, 0:1], 0.0, 3.0)
    torso_pitch = np.clip(observation[:, 1:2], -4.0, 4.0)
    x_velocity = np.clip(observation[:, 8:9], -10.0, 10.0)
    joint_velocity = np.clip(observation[:, 11:17], -10.0, 10.0)
    action = np.clip(action, -1.0, 1.0)

    speed = x_velocity / 3.0

    low_gate = 1.0 / (1.0 + np.exp(-(torso_height - 0.8) / 0.05))
    high_gate = 1.0 / (1.0 + np.exp(-(2.0 - torso_height) / 0.05))
    pitch_gate = 1.0 / (1.0 + np.exp(-(1.0 - np.abs(torso_pitch)) / 0.05))
    healthy = low_gate * high_gate * pitch_gate

    standing_tall = (torso_height - 1.0) / 0.25
    trunk_tilt = -np.square(torso_pitch)

    torque_energy = -np.sum(np.square(action), axis=1, keepdims=True) / 6.0
    joint_power = -np.mean(np.abs(action * joint_velocity), axis=1, keepdims=True) / 2.0

    hip_split = np.tanh(np.abs(observation[:, 2:3] - observation[:, 5:6]))
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
