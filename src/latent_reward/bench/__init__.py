"""The benchmark: worlds in which the credit of every step is known exactly, and every method on the same episodes."""
