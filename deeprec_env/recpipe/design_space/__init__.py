"""Spaces of pipelines: swept, searched and scheduled."""
