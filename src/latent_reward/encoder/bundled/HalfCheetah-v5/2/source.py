def evaluation_func(observation, action):
    speed = np.clip(observation[:, 8:9], -30.0, 30.0)
    # Forward velocity of the torso in units of 4 m/s.
    running = speed / 4.0
    # Near 0 when running forward; falls in proportion to the speed of moving backwards.
    backwards = -np.log1p(np.exp(-2.0 * np.clip(speed, -15.0, 15.0))) / 4.0

    action = np.clip(action, -1.0, 1.0)
    # Negative length of the torque vector of the back leg.
    effort_back = -np.sqrt(np.sum(action[:, 0:3] ** 2, axis=1, keepdims=True) + 1e-6)
    # Negative length of the torque vector of the front leg.
    effort_front = -np.sqrt(np.sum(action[:, 3:6] ** 2, axis=1, keepdims=True) + 1e-6)
    # Negative mean square of all six torques.
    effort_total = -np.sum(action ** 2, axis=1, keepdims=True) / 6.0

    # Negative sine of the pitch: below 0 when the nose points down.
    nose_dive = -np.sin(np.clip(observation[:, 1:2], -100.0, 100.0))

    rocking_rate = np.clip(observation[:, 10:11], -80.0, 80.0) / 4.0
    heave_rate = np.clip(observation[:, 9:10], -20.0, 20.0)
    # Negative size of pitch rate and vertical velocity taken together.
    rocking = -np.sqrt(rocking_rate ** 2 + heave_rate ** 2 + 1e-6)

    leg_angles = np.clip(observation[:, 2:8], -10.0, 10.0)
    # Negative mean square of the joint angles; 0 in the relaxed posture.
    stretched_legs = -np.mean(leg_angles ** 2, axis=1, keepdims=True) / 0.3

    return [running, backwards, effort_back, effort_front, effort_total, nose_dive, rocking, stretched_legs]
