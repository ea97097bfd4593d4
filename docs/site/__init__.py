"""The website: the pages of `docs`, and those made of the code, built strictly and complete without a network."""
