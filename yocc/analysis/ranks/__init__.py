"""What layers lose and save at a low rank: candidates for a plan, measured without changing the graph."""
