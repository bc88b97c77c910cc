"""Training: loops that play, assign credit and improve an agent, and the folder a run leaves behind."""
