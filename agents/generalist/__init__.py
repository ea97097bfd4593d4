"""Training of the generalist: random services, their simulated tails, and the network fitted to them."""
