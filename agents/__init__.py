"""Training and using learned agents (Stable-Baselines3)."""
