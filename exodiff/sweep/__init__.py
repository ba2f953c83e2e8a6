"""Many runs of one model file: designs over its keys, a table of runs, and one table of their results."""
