def evaluation_func(observation, action):
    error = np.clip(observation[:, 8:10], -10.0, 10.0)
    target = np.clip(observation[:, 4:6], -10.0, 10.0)
    fingertip = target + error
    joint_rate = np.clip(observation[:, 6:8], -100.0, 100.0)

    squared_error = np.sum(np.square(error), axis=1, keepdims=True)
    error_norm = np.sqrt(squared_error + 1e-8)
    # Negative distance from fingertip to target, in units of the arm length.
    relative_error = -error_norm / 0.21
    # Negative square of the distance from fingertip to target.
    quadratic_error = -squared_error / 0.04

    target_reach = np.sqrt(np.sum(np.square(target), axis=1, keepdims=True) + 1e-8)
    fingertip_reach = np.sqrt(np.sum(np.square(fingertip), axis=1, keepdims=True) + 1e-8)
    # Cosine of the angle between target and fingertip, seen from the base of the arm.
    pointing = np.sum(target * fingertip, axis=1, keepdims=True) / (target_reach * fingertip_reach + 1e-4)
    # Negative difference between the distances of target and fingertip from the base.
    reach_mismatch = -np.abs(target_reach - fingertip_reach) / 0.1

    # The whole arm turns with joint 0; the second link turns with both joints.
    elbow = 0.1 * np.clip(np.concatenate([observation[:, 0:1], observation[:, 2:3]], axis=1), -1.0, 1.0)
    from_elbow = fingertip - elbow
    rate_sum = joint_rate[:, 0:1] + joint_rate[:, 1:2]
    moment_0 = elbow[:, 0:1] * error[:, 1:2] - elbow[:, 1:2] * error[:, 0:1]
    moment_1 = from_elbow[:, 0:1] * error[:, 1:2] - from_elbow[:, 1:2] * error[:, 0:1]
    # Speed at which the distance to the target shrinks.
    closing_rate = -(joint_rate[:, 0:1] * moment_0 + rate_sum * moment_1) / error_norm

    # Negative square of the torque at the base.
    shoulder_torque = -np.square(np.clip(action[:, 0:1], -1.0, 1.0))
    # Negative square of the torque at the elbow.
    elbow_torque = -np.square(np.clip(action[:, 1:2], -1.0, 1.0))

    return [
        relative_error,
        quadratic_error,
        pointing,
        reach_mismatch,
        closing_rate,
        shoulder_torque,
        elbow_torque,
    ]
