"""The lattice: its grid, walls, regions, and where cells are placed on it."""
