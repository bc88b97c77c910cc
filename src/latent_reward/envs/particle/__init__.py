"""Particle worlds: discs that push each other in a plane, compiled together with the agents that learn in them."""
