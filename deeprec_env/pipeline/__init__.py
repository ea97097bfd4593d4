"""RecPipe's pipelines: configurations of stages on CPU cores, GPUs and units of an accelerator."""
