"""Checks of the physics as functions: tests assert them, planted mistakes fail them, bench.validation prints them."""
