"""SBML in: stochastic models of one well-mixed compartment become model files.

`reader` asks libsbml for what a file says, `formula` turns its mathematics into expressions, `laws` finds mass action,
`convert` writes the tables of a model file.
"""
