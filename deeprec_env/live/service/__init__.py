"""Ranking requests over HTTP, served by the same node: bodies, admission, metrics, the page, the server, a client."""
