"""Logged runs of RecPipe's artifact, predicted."""
