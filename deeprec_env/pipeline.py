"""The name under which `rpaccel_latency_s` was published; RecPipe is in `deeprec_env.recpipe`."""

from deeprec_env.latency.rpaccel import rpaccel_latency_s

__all__ = ["rpaccel_latency_s"]
