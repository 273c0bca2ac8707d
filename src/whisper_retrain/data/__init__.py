"""From recordings to an immutable dataset revision."""
