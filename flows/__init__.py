"""The order of events; each flow is readable on one screen."""
