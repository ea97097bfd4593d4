"""Recommendation quality of pipelines: click data, models trained on it, metrics, and the table a scenario reads."""
