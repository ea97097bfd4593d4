"""The node on the wall clock: worker processes that run the models, the live engine, recordings and their replay."""
