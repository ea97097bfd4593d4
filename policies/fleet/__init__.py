"""Policies for fleets, and DeepRecSys's claims about them."""
