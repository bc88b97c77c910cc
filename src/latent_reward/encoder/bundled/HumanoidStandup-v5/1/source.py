def evaluation_func(observation, action):
    height = np.clip(observation[:, 0:1], -1.0, 5.0)
    relative_height = 3.0 * height / 1.2
    lift_off = np.tanh((height - 0.1) / 0.1)
    height_squared = np.square(height / 0.6)

    quaternion = np.clip(observation[:, 1:5], -1.0, 1.0)
    w, x, y, z = quaternion[:, 0:1], quaternion[:, 1:2], quaternion[:, 2:3], quaternion[:, 3:4]
    norm = w * w + x * x + y * y + z * z + 1e-6
    head_up = 2.0 * (w * y - x * z) / norm

    right_foot_force = observation[:, 305:306]
    left_foot_force = observation[:, 323:324]
    weight_on_feet = np.tanh((np.abs(right_foot_force) + np.abs(left_foot_force)) / 400.0)

    torso_motion = np.clip(observation[:, 22:28], -50.0, 50.0)
    steadiness = np.exp(-np.mean(np.square(torso_motion), axis=1, keepdims=True) / 4.0)

    control_energy = -np.sum(np.square(np.clip(action, -0.4, 0.4)), axis=1, keepdims=True)
    load = np.clip(observation[:, 270:348] / 1000.0, -100.0, 100.0)
    impact_load = -np.tanh(np.sum(np.square(load), axis=1, keepdims=True))

    return [
        relative_height,
        lift_off,
        height_squared,
        head_up,
        weight_on_feet,
        steadiness,
        control_energy,
        impact_load,
    ]
