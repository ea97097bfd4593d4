"""`deeprec evaluate` by another name: python -m deeprec_env.policies.evaluate.

In the repository, python -m policies.evaluate too.
"""

import sys

from deeprec_env.cli.main import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
