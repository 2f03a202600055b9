"""Numbers by which compiled code is told what to do; readable without loading numba."""

SQEUCLIDEAN, EUCLIDEAN, CITYBLOCK, CHEBYSHEV, TABLE = 0, 1, 2, 3, 4

START = 254
"""The step number of cell (0, 0)."""
UNREACHED = 255
"""The step number of a cell that no path reaches."""
