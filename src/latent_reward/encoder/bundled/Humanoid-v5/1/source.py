def evaluation_func(observation, action):
    torso_height = np.clip(observation[:, 0:1], -1.0, 4.0)
    quaternion = np.clip(observation[:, 1:5], -1.0, 1.0)
    torso_spin = np.clip(observation[:, 25:28], -50.0, 50.0)
    controls = np.clip(action, -0.4, 0.4)

    bodies = np.clip(observation[:, 45:175], -100.0, 100.0).reshape(-1, 13, 10)
    motions = np.clip(observation[:, 175:253], -100.0, 100.0).reshape(-1, 13, 6)
    mass = np.maximum(bodies[:, :, 9], 0.0)
    turned = motions[:, :, 1] * bodies[:, :, 8] - motions[:, :, 2] * bodies[:, :, 7]
    share = (mass * motions[:, :, 3] + turned) / (np.sum(mass, axis=1, keepdims=True) + 1e-3)
    # Momentum of the trunk along x over the mass of the robot, in m/s.
    trunk_momentum = np.clip(np.sum(share[:, 0:3], axis=1, keepdims=True), -10.0, 10.0)
    # Momentum of legs and arms along x over the mass of the robot, in m/s.
    limb_momentum = np.clip(np.sum(share[:, 3:13], axis=1, keepdims=True), -10.0, 10.0)

    low_gate = 1.0 / (1.0 + np.exp(-np.clip((torso_height - 1.0) / 0.002, -50.0, 50.0)))
    high_gate = 1.0 / (1.0 + np.exp(-np.clip((2.0 - torso_height) / 0.002, -50.0, 50.0)))
    # 1 when the height of the torso is within the limits of a fall, 0 outside, with narrow soft edges.
    healthy = low_gate * high_gate

    # Negative lean of the torso: 0 when upright, -1 when lying.
    lean = -2.0 * np.sum(np.square(quaternion[:, 1:3]), axis=1, keepdims=True)

    # Negative, saturating angular velocity of the torso.
    reeling = -np.tanh(np.sqrt(np.sum(np.square(torso_spin), axis=1, keepdims=True) + 1e-6) / 5.0)

    # Negative sum of the squared controls.
    control_energy = -np.sum(np.square(controls), axis=1, keepdims=True)

    loads = np.clip(observation[:, 270:348] / 1000.0, -100.0, 100.0)
    # Negative, saturating sum of the squared contact loads on all bodies.
    contact_load = -10.0 * np.tanh(np.sum(np.square(loads), axis=1, keepdims=True) / 20.0)

    return [trunk_momentum, limb_momentum, healthy, lean, reeling, control_energy, contact_load]
