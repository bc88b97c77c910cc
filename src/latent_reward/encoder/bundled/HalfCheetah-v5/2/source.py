def evaluation_func(observation, action):
    speed = np.clip(observation[:, 8:9], -30.0, 30.0)
    running = speed / 4.0
    backwards = -np.log1p(np.exp(-2.0 * np.clip(speed, -15.0, 15.0))) / 4.0

    action = np.clip(action, -1.0, 1.0)
    effort_back = -np.sqrt(np.sum(action[:, 0:3] ** 2, axis=1, keepdims=True) + 1e-6)
    effort_front = -np.sqrt(np.sum(action[:, 3:6] ** 2, axis=1, keepdims=True) + 1e-6)
    effort_total = -np.sum(action ** 2, axis=1, keepdims=True) / 6.0

    nose_dive = -np.sin(np.clip(observation[:, 1:2], -100.0, 100.0))

    rocking_rate = np.clip(observation[:, 10:11], -80.0, 80.0) / 4.0
    heave_rate = np.clip(observation[:, 9:10], -20.0, 20.0)
    rocking = -np.sqrt(rocking_rate ** 2 + heave_rate ** 2 + 1e-6)

    leg_angles = np.clip(observation[:, 2:8], -10.0, 10.0)
    stretched_legs = -np.mean(leg_angles ** 2, axis=1, keepdims=True) / 0.3

    return [running, backwards, effort_back, effort_front, effort_total, nose_dive, rocking, stretched_legs]
