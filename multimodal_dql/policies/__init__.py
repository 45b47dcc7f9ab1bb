"""Every policy behind one method: ``probabilities(state) -> (B, K)``."""
