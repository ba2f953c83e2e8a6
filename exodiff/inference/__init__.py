"""Inference: expectations and their derivatives, likelihoods, fits."""
