"""Figures from the records of a run; knows no kernels."""
