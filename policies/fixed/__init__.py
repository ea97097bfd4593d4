"""Policies of one fixed setting, and the searches that find it."""
