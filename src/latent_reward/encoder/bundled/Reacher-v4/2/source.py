def evaluation_func(observation, action):
    cosines = np.clip(observation[:, 0:2], -1.0, 1.0)
    sines = np.clip(observation[:, 2:4], -1.0, 1.0)
    rates = np.clip(observation[:, 6:8], -200.0, 200.0)
    offset = np.clip(observation[:, 8:10], -10.0, 10.0)
    action = np.clip(action, -1.0, 1.0)
    cos_0, cos_1 = cosines[:, 0:1], cosines[:, 1:2]
    sin_0, sin_1 = sines[:, 0:1], sines[:, 1:2]
    rate_0, rate_1 = rates[:, 0:1], rates[:, 1:2]
    dx, dy = offset[:, 0:1], offset[:, 1:2]

    # Direction of the second link, from the sum of both angles.
    cos_sum = cos_0 * cos_1 - sin_0 * sin_1
    sin_sum = sin_0 * cos_1 + cos_0 * sin_1
    speed_x = -0.1 * sin_0 * rate_0 - 0.11 * sin_sum * (rate_0 + rate_1)
    speed_y = 0.1 * cos_0 * rate_0 + 0.11 * cos_sum * (rate_0 + rate_1)

    distance = np.hypot(dx, dy)
    earlier_distance = np.hypot(dx - 0.02 * speed_x, dy - 0.02 * speed_y)

    # 1 on the target, falling linearly to 0 at a distance of 20 cm.
    closeness = 1.0 - distance / 0.2
    # (earlier - now) / 0.02, written without the difference of two nearly equal numbers.
    moved = 0.02 * (speed_x ** 2 + speed_y ** 2) - 2.0 * (dx * speed_x + dy * speed_y)
    # How fast the distance to the target has shrunk over the last step.
    improvement = moved / (earlier_distance + distance + 1e-6)
    # Bell around the target, about 3 cm wide.
    arrival = 1.0 / (1.0 + (distance / 0.03) ** 2)
    # Negative speed of the fingertip, counted only near the target.
    holding = -arrival * np.hypot(speed_x, speed_y)

    # 1 without torque, less by the sum of the squared torques.
    gentleness = 1.0 - np.sum(action ** 2, axis=1, keepdims=True)
    # Positive when the torque at the base pushes the joint the way it already turns.
    pushing_0 = np.tanh(action[:, 0:1] * rate_0 / 5.0)
    # Positive when the torque at the elbow pushes the joint the way it already turns.
    pushing_1 = np.tanh(action[:, 1:2] * rate_1 / 5.0)

    return [closeness, improvement, arrival, holding, gentleness, pushing_0, pushing_1]
