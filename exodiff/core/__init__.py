"""The lowest layer: array types, expressions, errors and health codes."""
