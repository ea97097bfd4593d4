"""A trained agent against the baselines: python -m deeprec_env.agents.evaluate FOLDER|MODEL.zip."""

from deeprec_env import console
from deeprec_env.cli.trained import app

if __name__ == "__main__":
    console.run(app, "deeprec_env.agents.evaluate")
