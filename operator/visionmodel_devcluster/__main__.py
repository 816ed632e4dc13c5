"""`python -m visionmodel_devcluster`."""

from visionmodel_devcluster.cli import app

if __name__ == "__main__":
    app(prog_name="visionmodel_devcluster")
