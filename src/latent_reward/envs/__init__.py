"""Environments: compiled worlds of teams, and the ones of Gymnasium and PettingZoo on the host."""
