"""Agents: how a policy acts, and how it improves on per-step rewards."""
