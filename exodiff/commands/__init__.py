"""The commands, one function each; their arguments and docstrings are the help that users read."""
