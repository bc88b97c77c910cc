"""A task: an environment together with its description in words."""
