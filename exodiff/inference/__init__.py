"""Fitting parameters to measurements: data, likelihoods, priors, optimisation, calibration, intervals."""
