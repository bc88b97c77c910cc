"""Training: the loops that play, assign credit and improve agents, and the folder of a run."""
