"""RPAccel's chip: systolic arrays, embedding caches, area, power and energy."""
