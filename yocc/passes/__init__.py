"""The passes: one pass, one file, one test file."""
