def evaluation_func(observation, action):
    observation = np.clip(observation, -10.0, 10.0)
    ally_health = observation[:, 0:52:13]
    enemy_health = observation[:, 52:130:13]
    enemy_x = observation[:, 53:130:13]
    enemy_y = observation[:, 54:130:13]
    attacks = np.clip(action[:, 5:11], 0.0, 1.0)

    seen = np.where(enemy_health > 0.0, 1.0, 0.0)
    distance = np.sqrt(enemy_x ** 2 + enemy_y ** 2 + 1e-8)
    attacking = np.sum(attacks, axis=1, keepdims=True)

    shot_fired = np.where(observation[:, 133:134] > 0.0, attacking, 0.0)
    target_wounds = np.sum(attacks * seen * (1.0 - enemy_health), axis=1, keepdims=True)
    target_gone = np.sum(attacks * (1.0 - seen), axis=1, keepdims=True)
    enemy_wounds = np.mean(seen * (1.0 - enemy_health), axis=1, keepdims=True)
    enemy_pressure = -np.mean(seen * np.exp(-distance), axis=1, keepdims=True)
    own_health = observation[:, 130:131]
    allies_health = np.mean(ally_health, axis=1, keepdims=True)
    return [shot_fired, target_wounds, target_gone, enemy_wounds, enemy_pressure, own_health, allies_health]
