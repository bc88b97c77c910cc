def evaluation_func(observation, action):
    observation = np.clip(observation, -1e3, 1e3)
    action = np.clip(action, -1.0, 1.0)
    offset_x = observation[:, 8:9]
    offset_y = observation[:, 9:10]
    rate_0 = observation[:, 6:7]
    rate_1 = observation[:, 7:8]

    distance = np.sqrt(offset_x ** 2 + offset_y ** 2 + 1e-8)
    # Negative distance from fingertip to target, five per metre.
    nearness = -5.0 * distance
    # 1 on the target, falling by a factor e every 5 cm.
    precision = np.exp(-distance / 0.05)

    # Velocity of the fingertip: the elbow turns about the origin, the second link about the elbow.
    elbow_x = 0.1 * observation[:, 0:1]
    elbow_y = 0.1 * observation[:, 2:3]
    link_x = observation[:, 4:5] + offset_x - elbow_x
    link_y = observation[:, 5:6] + offset_y - elbow_y
    tip_velocity_x = -rate_0 * elbow_y - (rate_0 + rate_1) * link_y
    tip_velocity_y = rate_0 * elbow_x + (rate_0 + rate_1) * link_x
    # Speed at which the distance to the target shrinks.
    approach_speed = -(tip_velocity_x * offset_x + tip_velocity_y * offset_y) / distance

    # Negative sum of the squared torques.
    torque_cost = -np.sum(action ** 2, axis=1, keepdims=True)
    # Negative sum of the sizes of the joint velocities.
    stillness = -(np.abs(rate_0) + np.abs(rate_1)) / 10.0

    return [nearness, precision, approach_speed, torque_cost, stillness]
