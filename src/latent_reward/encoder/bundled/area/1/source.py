def evaluation_func(observation, action):
    observation = np.clip(observation, -100.0, 100.0)
    landmarks = observation[:, 4:10].reshape(-1, 1, 3, 2)
    mates = observation[:, 10:14].reshape(-1, 2, 2)
    corners = np.concatenate([np.zeros_like(mates[:, 0:1]), mates], axis=1).reshape(-1, 3, 1, 2)

    sides = np.sqrt(np.sum((mates - np.flip(mates, axis=1)) ** 2, axis=2) + 1e-8)[:, 0:1]
    arms = np.sqrt(np.sum(mates**2, axis=2) + 1e-8)
    ax, ay, bx, by = observation[:, 10:11], observation[:, 11:12], observation[:, 12:13], observation[:, 13:14]
    double_area = np.abs(ax * by - ay * bx)

    # Half the area of the triangle that the three agents span.
    team_area = double_area / 4.0
    # Square root of twice the area, a length.
    length_scale = np.sqrt(double_area + 1e-6)
    # Mean length of the three sides.
    perimeter = (sides + np.sum(arms, axis=1, keepdims=True)) / 3.0
    # Distance of this agent from the line through the other two.
    height = double_area / (sides + 0.05)

    apart = np.sqrt(np.sum((landmarks - corners) ** 2, axis=3) + 1e-8)
    hits = np.sum((apart < 0.55) * 1.0, axis=2)
    # Number of touches between all three agents and the landmarks that this agent sees.
    team_hits = np.sum(hits, axis=1, keepdims=True)
    # Number of landmarks that this agent touches.
    own_hits = hits[:, 0:1]

    # Speed of this agent.
    haste = np.sqrt(np.sum(observation[:, 0:2] ** 2, axis=1, keepdims=True) + 1e-8)

    return [team_area, length_scale, perimeter, height, team_hits, own_hits, haste]
