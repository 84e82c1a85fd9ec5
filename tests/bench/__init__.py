"""Benchmarks: each is `make bench-NAME`, prints a table, and as its last line one JSON object with all figures.

In: nothing but the machine. Out: figures with their units in the keys. Nothing here passes or fails by time.
"""
