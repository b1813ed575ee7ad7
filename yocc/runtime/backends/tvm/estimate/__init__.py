"""Estimates of a model's time on ARM boards, without a board."""
