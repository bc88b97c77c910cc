def evaluation_func(observation, action):
    height = np.clip(observation[:, 0:1], -1.0, 5.0)
    # Height of the torso, 3 at the standing height of 1.2 m.
    relative_height = 3.0 * height / 1.2
    # How far the torso has left the ground; close to 1 from 0.3 m on.
    lift_off = np.tanh((height - 0.1) / 0.1)
    # Square of the height of the torso, which favours the last stretch.
    height_squared = np.square(height / 0.6)

    quaternion = np.clip(observation[:, 1:5], -1.0, 1.0)
    w, x, y, z = quaternion[:, 0:1], quaternion[:, 1:2], quaternion[:, 2:3], quaternion[:, 3:4]
    norm = w * w + x * x + y * y + z * z + 1e-6
    # Height of the direction from torso to head: 1 when upright, 0 when lying.
    head_up = 2.0 * (w * y - x * z) / norm

    right_foot_force = observation[:, 333:334]
    left_foot_force = observation[:, 351:352]
    # Vertical contact force on both feet, saturating at 1.
    weight_on_feet = np.tanh((np.abs(right_foot_force) + np.abs(left_foot_force)) / 400.0)

    torso_motion = np.clip(observation[:, 22:28], -50.0, 50.0)
    # 1 when the torso neither moves nor turns, near 0 when it moves fast.
    steadiness = np.exp(-np.mean(np.square(torso_motion), axis=1, keepdims=True) / 4.0)

    # Negative sum of the squared controls.
    control_energy = -np.sum(np.square(np.clip(action, -0.4, 0.4)), axis=1, keepdims=True)
    load = np.clip(observation[:, 298:376] / 1000.0, -100.0, 100.0)
    # Negative, saturating sum of the squared contact loads on all bodies.
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
