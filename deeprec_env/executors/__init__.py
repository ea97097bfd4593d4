"""Who does independent pieces of work: this process, others of this machine, or a Ray cluster."""
