"""Measurements of the whole, as ratios to a floor taken in the same run. No test asserts a time."""
