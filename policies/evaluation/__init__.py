"""Fair comparisons of policies: episodes, their metrics, paired statistics, tables and pictures."""
