"""One file for each family of detectors."""
