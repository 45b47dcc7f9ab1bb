"""A simulated audience, and comparisons of policies in front of it."""
