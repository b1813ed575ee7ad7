"""Graph rewrites that several passes share. They change the graph they are given; analyses only read it."""
