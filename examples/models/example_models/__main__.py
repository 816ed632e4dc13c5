"""`python -m example_models build --out DIR [--only shapes|digits]`."""

import argparse
import sys
from pathlib import Path

from example_models.build import TrainingFailedError, build, write_staged
from example_models.families import FAMILIES, NotAsPromisedError


def main(arguments: list[str]) -> int:
    """Build or train; errors that a person can act on end in one line, not in a traceback."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "train":
            write_staged(options.family, options.staging / options.family, _say)
        else:
            print(build(options.out, only=options.only, report=_say))
    except (NotAsPromisedError, TrainingFailedError) as error:
        _say(f"error: {error}")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="example_models", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    build_command = commands.add_parser("build", help="train what the cache lacks and copy it")
    build_command.add_argument("--out", type=Path, help="default: print the cache's own folder")
    build_command.add_argument("--only", choices=FAMILIES)
    train_command = commands.add_parser("train", help="one family, no cache; started by build")
    train_command.add_argument("family", choices=FAMILIES)
    train_command.add_argument("staging", type=Path)
    return parser


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
