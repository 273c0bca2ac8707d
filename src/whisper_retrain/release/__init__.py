"""From a decision to a promotion."""
