"""Exploration: a Bayesian last layer under the dueling head, its propensities, and how it forgets."""
