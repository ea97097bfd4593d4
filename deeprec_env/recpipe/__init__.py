"""RecPipe: pipelines of stages on CPU cores, GPUs and an analytic accelerator, and predictions of logged runs."""
