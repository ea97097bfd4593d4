"""The subcommands of `deeprec`, one subject a file."""
