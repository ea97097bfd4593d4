"""Where a run's time went: its requests one by one, the parts of a latency, and traces that Perfetto opens."""
