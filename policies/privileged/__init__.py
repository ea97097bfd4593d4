"""Policies that know more than a server could: the references of a comparison."""
