"""The targets: each judges a graph, builds it and can run it."""
