"""The network of species and reactions, as static data."""
