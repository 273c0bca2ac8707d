"""From a dataset revision and a base model to a checkpoint."""
