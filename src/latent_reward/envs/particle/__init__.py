"""Particle worlds: discs that push each other in a plane, compiled with whoever learns in them."""
