"""The figures of the RecPipe paper (Gupta et al., MICRO 2021), from the simulator, beside what was published."""
