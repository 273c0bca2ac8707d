"""A flow run followed in a terminal: triggered, its log as it comes, and what it decided."""
