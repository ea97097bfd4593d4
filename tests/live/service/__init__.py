"""Skipped where the extra `serve` is not installed."""

import pytest

for module in ("starlette", "uvicorn", "httptools", "prometheus_client"):
    pytest.importorskip(module)
