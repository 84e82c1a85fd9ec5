"""How queue frameworks lay out their work in a broker. One small file for each layout.

Comes in: the name of a queue. Goes out: what to read, and how the answer becomes a `Depth`.
"""
