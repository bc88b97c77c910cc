"""Environments: compiled worlds, and those of Gymnasium and PettingZoo on the host."""
