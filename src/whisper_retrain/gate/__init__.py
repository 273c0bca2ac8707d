"""From two evaluation reports to a decision; pure."""
