"""Inference: expectations and their derivatives, likelihoods, fits and their intervals."""
