"""Tuning: which settings of a training do best on the validation split, inside a budget."""
