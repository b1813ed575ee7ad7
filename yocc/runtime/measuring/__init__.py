"""Comparing two models: what they compute and how long they take."""
