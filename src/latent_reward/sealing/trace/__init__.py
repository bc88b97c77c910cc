"""Run a checked source, by NumPy for its numbers and by JAX for its program; only in the locked child."""
