"""`deeprec train` by another name: python -m deeprec_env.agents.train.

In the repository, python -m agents.train too.
"""

import sys

from deeprec_env.cli.main import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
