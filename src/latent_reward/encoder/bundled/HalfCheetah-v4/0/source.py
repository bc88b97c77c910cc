def evaluation_func(observation, action):
    observation = np.clip(observation, -1e4, 1e4)
    action = np.clip(action, -1.0, 1.0)
    pitch = observation[:, 1:2]
    vertical_velocity = observation[:, 9:10]
    pitch_rate = observation[:, 10:11]
    joint_velocity = observation[:, 11:17]

    # Forward velocity of the torso in units of 3 m/s; it never saturates.
    forward_speed = observation[:, 8:9] / 3.0

    # Negative mean square of the six torques.
    torque_cost = -np.mean(action ** 2, axis=1, keepdims=True)

    # Cosine of the pitch: 1 when the torso is level, -1 when it lies on its back.
    levelness = np.cos(pitch)

    # Negative size of the pitch rate; 0 when the torso does not turn.
    pitch_calm = -np.abs(pitch_rate) / 5.0
    # Negative size of the vertical velocity; 0 when the torso does not bounce.
    bounce = -np.abs(vertical_velocity)
    # Negative mean size of the joint velocities; low when the legs whip around.
    joint_calm = -np.mean(np.abs(joint_velocity), axis=1, keepdims=True) / 10.0

    return [forward_speed, torque_cost, levelness, pitch_calm, bounce, joint_calm]
