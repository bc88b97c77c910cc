def evaluation_func(observation, action):
    observation = np.clip(observation, -1e5, 1e5)
    controls = np.clip(action, -0.4, 0.4)
    height = observation[:, 0:1]
    x, y = np.clip(observation[:, 2:3], -1.0, 1.0), np.clip(observation[:, 3:4], -1.0, 1.0)

    inertia = observation[:, 45:175].reshape(-1, 13, 10)
    motion = observation[:, 175:253].reshape(-1, 13, 6)
    mass = np.clip(inertia[:, :, 9], 0.0, 100.0)
    offset_y, offset_z = inertia[:, :, 7], inertia[:, :, 8]
    turn_y, turn_z, v_x = motion[:, :, 1], motion[:, :, 2], motion[:, :, 3]
    momentum = np.sum(mass * v_x + turn_y * offset_z - turn_z * offset_y, axis=1, keepdims=True)
    total_mass = np.sum(mass, axis=1, keepdims=True) + 1e-3
    # Velocity of the centre of mass of the whole robot along x, in m/s.
    walking_speed = np.clip(momentum / total_mass, -10.0, 10.0)

    # 1 while the height of the torso is within 1 to 2 m, 0 outside.
    on_its_feet = np.where((height > 1.0) & (height < 2.0), 1.0, 0.0)

    # Height of the direction from torso to head: 1 when upright, 0 when lying.
    uprightness = 1.0 - 2.0 * (x ** 2 + y ** 2)

    # Vertical velocity of the torso, saturating; negative when it sinks.
    sinking = np.tanh(observation[:, 24:25])

    # Negative mean square of the controls, as a share of its largest value.
    control_effort = -np.mean(controls ** 2, axis=1, keepdims=True) / 0.16

    squared_load = np.sum((observation[:, 270:348] / 1000.0) ** 2, axis=1, keepdims=True)
    # Negative sum of the squared contact loads, bounded at -10.
    impact = -np.minimum(squared_load / 2.0, 10.0)

    # Negative logarithm of the squared contact loads, which tells soft steps apart.
    footfall = -np.log1p(100.0 * squared_load) / 3.0

    return [walking_speed, on_its_feet, uprightness, sinking, control_effort, impact, footfall]
