"""From a model and a test set to an evaluation report."""
