"""Credit: from the return of an episode to a reward per step and agent."""
