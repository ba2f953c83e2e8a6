"""The mechanisms of the seed documents as data: what is said, the model, the control, and the check."""
