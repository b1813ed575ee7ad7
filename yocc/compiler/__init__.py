"""The compiler core: the graph, what it costs, what a pass is, and how passes are run."""
