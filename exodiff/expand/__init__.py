"""From the blocks of a model file to plain species and reactions, before anything is compiled.

Each module here is one macro; later blocks (exosome populations, vessels, interventions) plug in beside it.
"""
