def evaluation_func(observation, action):
    heading = np.clip(observation[:, 0:1], -1e3, 1e3)
    joint_angles = np.clip(observation[:, 1:3], -4.0, 4.0)
    velocity = np.clip(observation[:, 3:5], -20.0, 20.0)
    turn_rate = np.clip(observation[:, 5:6], -50.0, 50.0)
    torque = np.clip(action, -1.0, 1.0)

    # Velocity of the front link along x in units of 0.5 m/s; it never saturates.
    forward_velocity = velocity[:, 0:1] / 0.5

    # Negative size of the velocity across the wanted direction.
    sideways_drift = -np.abs(velocity[:, 1:2])

    # Cosine of the heading: 1 when the front link points along x, -1 when it points back.
    facing = np.cos(heading)

    # Negative size of the turning rate of the front link.
    steadiness = -np.abs(turn_rate) / 3.0

    # Negative mean square of the two torques.
    torque_cost = -np.mean(torque ** 2, axis=1, keepdims=True)

    # Negative angle of the joint that is bent most, as a share of its limit.
    joint_reserve = -np.max(np.abs(joint_angles), axis=1, keepdims=True) / 1.75

    return [forward_velocity, sideways_drift, facing, steadiness, torque_cost, joint_reserve]
