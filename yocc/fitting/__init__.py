"""Least squares, reduced ranks, rounding and codecs: numbers in, numbers out."""
