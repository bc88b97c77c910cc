"""Training: the loops that make an agent and a decomposer learn together."""
