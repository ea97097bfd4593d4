"""DeepRecSys's table of gains, run again."""
