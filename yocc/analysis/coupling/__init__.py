"""Which channels must live and die together: a walk over the graph, with one rule for each operator.

`channels` draws the map, `walk` and `atoms` are what it is made of, `flows` lists the rules.
"""
