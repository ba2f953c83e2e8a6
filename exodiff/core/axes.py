"""The axes of the lattice, in the order of every array."""

AXES = ("x", "y", "z")
