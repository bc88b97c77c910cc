def evaluation_func(observation, action):
    observation = np.clip(observation, -10.0, 10.0)
    ally_health = observation[:, 0:52:13]
    enemy_health = observation[:, 52:117:13]
    enemy_x = observation[:, 53:117:13]
    enemy_y = observation[:, 54:117:13]
    attacks = np.clip(action[:, 5:10], 0.0, 1.0)
    stalker = observation[:, 123:124]
    zealot = observation[:, 124:125]
    cooldown = observation[:, 120:121]

    seen = np.where(enemy_health > 0.0, 1.0, 0.0)
    distance = np.sqrt(enemy_x ** 2 + enemy_y ** 2 + 1e-8)
    attacking = np.sum(attacks, axis=1, keepdims=True)

    shot_fired = attacking * np.where(cooldown > 0.7 * stalker + 0.4 * zealot, 1.0, 0.0)
    target_wounds = np.sum(attacks * seen * (1.0 - enemy_health), axis=1, keepdims=True)
    target_gone = np.sum(attacks * (1.0 - seen), axis=1, keepdims=True)
    enemy_wounds = np.mean(seen * (1.0 - enemy_health), axis=1, keepdims=True)
    enemy_pressure = -np.mean(seen * np.exp(-distance), axis=1, keepdims=True)
    own_health = observation[:, 117:118]
    allies_health = np.mean(ally_health, axis=1, keepdims=True)
    return [shot_fired, target_wounds, target_gone, enemy_wounds, enemy_pressure, own_health, allies_health]
