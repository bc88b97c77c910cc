def evaluation_func(observation, action):
    observation = np.clip(observation, -1e4, 1e4)
    action = np.clip(action, -1.0, 1.0)
    pitch = observation[:, 1:2]
    vertical_velocity = observation[:, 9:10]
    pitch_rate = observation[:, 10:11]
    joint_velocity = observation[:, 11:17]

    # Progress: the faster the torso moves forward, the better. Never saturates.
    forward_speed = observation[:, 8:9] / 3.0

    # Economy: squared torques, averaged over the six joints.
    torque_cost = -np.mean(action ** 2, axis=1, keepdims=True)

    # Posture: 1 when the torso is level, -1 when it lies on its back.
    levelness = np.cos(pitch)

    # Calmness: turning, bouncing and whipping joints all cost.
    pitch_calm = -np.abs(pitch_rate) / 5.0
    bounce = -np.abs(vertical_velocity)
    joint_calm = -np.mean(np.abs(joint_velocity), axis=1, keepdims=True) / 10.0

    return [forward_speed, torque_cost, levelness, pitch_calm, bounce, joint_calm]
