def evaluation_func(observation, action):
    observation = np.clip(observation, -10.0, 10.0)
    ally_health = observation[:, 0:26:13]
    enemy_health = observation[:, 26:65:13]
    enemy_x = observation[:, 27:65:13]
    enemy_y = observation[:, 28:65:13]
    attacks = np.clip(action[:, 5:8], 0.0, 1.0)

    seen = np.where(enemy_health > 0.0, 1.0, 0.0)
    distance = np.sqrt(enemy_x ** 2 + enemy_y ** 2 + 1e-8)
    attacking = np.sum(attacks, axis=1, keepdims=True)

    # 1 when this unit chose to attack and its weapon has just fired.
    shot_fired = np.where(observation[:, 68:69] > 0.0, attacking, 0.0)
    # Health that the attacked enemy has lost, as a share.
    target_wounds = np.sum(attacks * seen * (1.0 - enemy_health), axis=1, keepdims=True)
    # 1 when the attacked enemy is dead or out of sight after the step.
    target_gone = np.sum(attacks * (1.0 - seen), axis=1, keepdims=True)
    # Health that the enemies in sight have lost, averaged over all enemies.
    enemy_wounds = np.mean(seen * (1.0 - enemy_health), axis=1, keepdims=True)
    # Minus the closeness of the enemies in sight, averaged over all enemies.
    enemy_pressure = -np.mean(seen * np.exp(-distance), axis=1, keepdims=True)
    # Health left of this unit, as a share.
    own_health = observation[:, 65:66]
    # Mean health left of the others in the team, as far as in sight.
    allies_health = np.mean(ally_health, axis=1, keepdims=True)
    return [shot_fired, target_wounds, target_gone, enemy_wounds, enemy_pressure, own_health, allies_health]
