def evaluation_func(observation, action):
    observation = np.clip(observation, -1e5, 1e5)
    action = np.clip(action, -0.4, 0.4)

    # Height of the torso in units of 0.4 m: about 0.25 when lying and 3 when standing.
    torso_height = observation[:, 0:1] / 0.4
    # Logarithm of the height of the torso, which shows the first centimetres off the ground.
    height_gain = np.log(np.maximum(observation[:, 0:1], 0.02) / 0.1)

    w, x = observation[:, 1:2], observation[:, 2:3]
    y, z = observation[:, 3:4], observation[:, 4:5]
    # Height of the direction from torso to head: 1 when upright, 0 when lying, -1 when upside down.
    uprightness = 2.0 * (w * y - x * z)

    # Vertical velocity of the torso, saturating; positive when it moves up.
    rising = np.tanh(observation[:, 24:25])

    # Mean angle of the knees: 0 when straight, negative when bent.
    straight_knees = np.clip(observation[:, 11:12] + observation[:, 15:16], -8.0, 8.0) / 2.0

    # Negative mean square of the controls, scaled to lie between -1 and 0.
    control_effort = -np.mean(action ** 2, axis=1, keepdims=True) / 0.16

    contact = observation[:, 298:376]
    # Negative logarithm of the squared contact loads on all bodies.
    impact = -np.log1p(np.sum(contact ** 2, axis=1, keepdims=True) / 1e5) / 3.0

    # Negative mean size of the joint velocities.
    thrashing = -np.mean(np.abs(observation[:, 28:45]), axis=1, keepdims=True) / 5.0

    return [torso_height, height_gain, uprightness, rising, straight_knees, control_effort, impact, thrashing]
