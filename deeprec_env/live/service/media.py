"""Names that a service and its clients agree on."""

from __future__ import annotations

JSON = "application/json"
BINARY = "application/vnd.safetensors"
CONTENT_TYPES = (JSON, BINARY, "application/octet-stream")
"""Types of a request's body; the last is read as safetensors, too."""

DEADLINE = "deadline-ms"
"""The header that says how many milliseconds a client has, from the arrival of the request."""
