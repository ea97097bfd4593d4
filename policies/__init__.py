"""Hand-written policies and their evaluation."""
