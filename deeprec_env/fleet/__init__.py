"""Many nodes behind a router."""
