"""RecPipe: pipelines of stages on CPU cores, GPUs and an analytic accelerator, and predictions of logged runs."""

from deeprec_env.latency.rpaccel import rpaccel_latency_s

__all__ = ["rpaccel_latency_s"]
