"""Agents: init / act / update, pure functions of (state, batch, key)."""
