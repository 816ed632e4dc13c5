"""`python -m bench.judge`: simulate rollouts, judge them by the product and write docs/benchmarks-judge.md."""

import argparse
import hashlib
import os
from pathlib import Path
from typing import Final

from bench.judge import cells
from bench.judge.document import BEGIN, END, document
from bench.judge.measure import CHUNK, REPLAYED, measured
from bench.judge.totals import QUESTIONS, SCORES, answered, scored
from bench.published import publish
from visionmodel_operator.core import sequential

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "benchmarks-judge.md"


def digest() -> str:
    """Return the first digits of the SHA-256 over the sequential tests' sources, in the order of their names."""
    known = hashlib.sha256()
    for file in sorted(Path(sequential.__path__[0]).glob("*.py")):
        known.update(file.read_bytes())
    return known.hexdigest()[:12]


def main() -> None:
    """Measure everything and write the generated part; what is around it stays."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--print", action="store_true", help="print the part and leave the document as it is")
    only_print = parser.parse_args().print
    results = measured(cells.ALL, os.cpu_count() or 1)
    answers = {known: answered(known) for known in QUESTIONS}
    scores = {known: scored(known) for known in SCORES}
    fired = (*answers.values(), *scores.values())
    simulated = sum(cell.runs for cell in cells.ALL) + sum(known.runs for known in fired)
    facts = {
        "simulated": simulated,
        "digest": digest(),
        "replayed": REPLAYED,
        "chunk": CHUNK,
    }
    text = document(results, answers, scores, facts)
    if only_print:
        print(text)
        return
    publish(DOCUMENT, text, (BEGIN, END))


if __name__ == "__main__":
    main()
