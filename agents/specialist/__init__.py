"""Specialists: agents for one scenario, by imitation of the best table and then reinforcement learning."""
