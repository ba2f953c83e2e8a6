"""Figures from records; knows no kernels."""
