"""`python -m deeprec_env` is the `deeprec` command."""

from deeprec_env.cli.main import main

if __name__ == "__main__":
    main()
