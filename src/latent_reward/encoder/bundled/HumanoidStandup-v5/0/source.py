def evaluation_func(observation, action):
    observation = np.clip(observation, -1e5, 1e5)
    action = np.clip(action, -0.4, 0.4)

    # About 0.25 when lying and 3 when standing; the logarithm shows the first centimetres better.
    torso_height = observation[:, 0:1] / 0.4
    height_gain = np.log(np.maximum(observation[:, 0:1], 0.02) / 0.1)

    w, x = observation[:, 1:2], observation[:, 2:3]
    y, z = observation[:, 3:4], observation[:, 4:5]
    # World height of the direction from torso to head, which is -x in the frame of the torso.
    uprightness = 2.0 * (w * y - x * z)

    rising = np.tanh(observation[:, 24:25])

    # Knee angles are 0 when straight and negative when bent.
    straight_knees = np.clip(observation[:, 11:12] + observation[:, 15:16], -8.0, 8.0) / 2.0

    # The controls reach at most 0.4, so divide by 0.16 to bring the mean square to 0..1.
    control_effort = -np.mean(action ** 2, axis=1, keepdims=True) / 0.16

    contact = observation[:, 270:348]
    impact = -np.log1p(np.sum(contact ** 2, axis=1, keepdims=True) / 1e5) / 3.0

    thrashing = -np.mean(np.abs(observation[:, 28:45]), axis=1, keepdims=True) / 5.0

    return [torso_height, height_gain, uprightness, rising, straight_knees, control_effort, impact, thrashing]
