def evaluation_func(observation, action):
    observation = np.clip(observation, -100.0, 100.0)
    own_x, own_y = observation[:, 0:1], observation[:, 1:2]
    fellow_x, fellow_y = observation[:, 10:20:2], observation[:, 11:20:2]
    prey_x, prey_y = observation[:, 20:22:2], observation[:, 21:22:2]
    flight_x, flight_y = observation[:, 22:23], observation[:, 23:24]

    distance = np.sqrt(prey_x**2 + prey_y**2 + 1e-9)
    nearest = distance[:, 0:1]

    # Negative logarithm of the distance to the nearest prey.
    log_distance = -np.log(nearest / 0.125 + 1.0) / 2.0
    # Number of prey within the catching distance, with a steep smooth edge.
    catch = np.sum(1.0 / (1.0 + np.exp(np.clip((distance - 0.125) / 0.0025, -30.0, 30.0))), axis=1, keepdims=True)
    # Sum of bells around all prey in sight; higher when more of them are near.
    attraction = np.sum(np.exp(-((distance / 0.3) ** 2)), axis=1, keepdims=True)

    fellows = np.sqrt((fellow_x - prey_x[:, 0:1]) ** 2 + (fellow_y - prey_y[:, 0:1]) ** 2 + 1e-9)
    # How tightly all predators in sight hold the nearest prey.
    grip = (np.sum(np.exp(-fellows / 0.3), axis=1, keepdims=True) + np.exp(-nearest / 0.3)) / 2.0

    # Speed of the nearest prey away from this predator.
    escape = (flight_x * prey_x[:, 0:1] + flight_y * prey_y[:, 0:1]) / (nearest + 0.02)
    # Speed of this predator.
    pace = np.sqrt(own_x**2 + own_y**2 + 1e-9)

    return [log_distance, catch, attraction, grip, escape, pace]
