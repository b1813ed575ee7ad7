"""Random inputs for yocc, and what became of them."""
