"""Searching for the options of a compilation: which levers, how far, at what loss."""
