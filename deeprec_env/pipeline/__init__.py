"""RecPipe's pipelines: the analytic accelerator, its characterisation, and predictions of logged runs."""

from deeprec_env.latency.rpaccel import rpaccel_latency_s

__all__ = ["rpaccel_latency_s"]
