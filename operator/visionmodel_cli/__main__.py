"""`python -m visionmodel_cli`."""

from visionmodel_cli.main import main

if __name__ == "__main__":
    main()
