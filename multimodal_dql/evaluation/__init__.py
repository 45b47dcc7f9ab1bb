"""Estimators and tests: pure functions from numbers to numbers."""
