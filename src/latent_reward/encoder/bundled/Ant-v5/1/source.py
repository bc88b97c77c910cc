def evaluation_func(observation, action):
    torso_height = np.clip(observation[:, 0:1], -1.0, 3.0)
    linear = np.clip(observation[:, 13:16], -50.0, 50.0)
    angular = np.clip(observation[:, 16:19], -50.0, 50.0)
    loads = np.clip(observation[:, 27:105], -1.0, 1.0)
    action = np.clip(action, -1.0, 1.0)

    # Velocity of the torso along x in units of 2 m/s.
    pace = linear[:, 0:1] / 2.0

    low_gate = 1.0 / (1.0 + np.exp(-np.clip((torso_height - 0.2) / 0.01, -50.0, 50.0)))
    high_gate = 1.0 / (1.0 + np.exp(-np.clip((1.0 - torso_height) / 0.01, -50.0, 50.0)))
    # 1 when the height of the torso is within the limits of a fall, 0 outside, with narrow soft edges.
    healthy = low_gate * high_gate

    # Negative mean square of the torques at the four hips.
    hip_effort = -np.mean(np.square(action[:, 0:8:2]), axis=1, keepdims=True)

    # Negative mean square of the torques at the four ankles.
    ankle_effort = -np.mean(np.square(action[:, 1:8:2]), axis=1, keepdims=True)

    # Negative mean square of the contact loads on all bodies, scaled up.
    contact_load = -10.0 * np.mean(np.square(loads), axis=1, keepdims=True)

    # Negative size of the angular velocity of the torso, saturating at -1.
    tumbling = -np.tanh(np.sqrt(np.sum(np.square(angular), axis=1, keepdims=True) + 1e-6) / 4.0)

    # Negative size of the vertical velocity of the torso.
    leaping = -np.abs(linear[:, 2:3])

    return [pace, healthy, hip_effort, ankle_effort, contact_load, tumbling, leaping]
