def evaluation_func(observation, action):
    heading = np.clip(observation[:, 0:1], -1e3, 1e3)
    bends = np.clip(observation[:, 1:3], -4.0, 4.0)
    v_x = np.clip(observation[:, 3:4], -20.0, 20.0)
    v_y = np.clip(observation[:, 4:5], -20.0, 20.0)
    rates = np.clip(observation[:, 5:8], -50.0, 50.0)
    action = np.clip(action, -1.0, 1.0)

    # Velocity of the front link along its own axis, wherever this axis points.
    surge = v_x * np.cos(heading) + v_y * np.sin(heading)

    # Negative size of the velocity across the axis of the front link.
    slip = -np.abs(v_y * np.cos(heading) - v_x * np.sin(heading))

    # Mean size of the joint velocities, saturating at 1.
    stroke_rate = np.tanh(np.mean(np.abs(rates[:, 1:3]), axis=1, keepdims=True) / 3.0)

    # Negative size of the sum of both bends: 0 for a straight or S-shaped body, low for a curled one.
    curl = -np.abs(np.sum(bends, axis=1, keepdims=True)) / 2.0

    # Negative length of the torque vector.
    effort = -np.sqrt(np.sum(action ** 2, axis=1, keepdims=True) + 1e-6)

    return [surge, slip, stroke_rate, curl, effort]
