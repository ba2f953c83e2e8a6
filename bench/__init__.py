"""Benchmarks: one JSON line a row; none decides a test."""
