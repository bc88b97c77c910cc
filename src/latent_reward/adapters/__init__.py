"""Credit in the environments and trainers of others."""
