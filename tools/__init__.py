"""Programs for the authors of yocc."""
