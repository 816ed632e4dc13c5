"""The table of precisions as it is printed."""

import pytest
from rich.console import Console

from visionmodel_cli.comparison import comparison_table
from visionmodel_contract.precision import Precision
from visionmodel_contract.report import CandidateRow, byte_size

ROWS = (
    CandidateRow(
        precision=Precision.FP32,
        size_bytes=404_000,
        nodes=28,
        metrics={"map50": 0.9505},
        p50_ms=0.4012,
        p99_ms=1.25,
        per_second=2490.4,
        peak_memory_bytes=90 * 1024**2,
        refused="int8 is 30.0 % faster and meets every goal too",
    ),
    CandidateRow(
        precision=Precision.INT8,
        method="MinMax",
        size_bytes=131_072,
        nodes=52,
        metrics={"map50": 0.9498, "cosine": 0.999},
        p50_ms=0.28,
        p99_ms=0.9,
        per_second=3571.0,
        chosen=True,
    ),
)


def printed(rows: tuple[CandidateRow, ...]) -> list[str]:
    """The printed lines with single spaces, without rules."""
    console = Console(width=200, no_color=True)
    with console.capture() as capture:
        console.print(comparison_table(rows))
    return [" ".join(line.split()) for line in capture.get().splitlines() if line.strip() and "─" not in line]


def test_table() -> None:
    assert printed(ROWS) == [
        "PRECISION SIZE NODES map50 cosine P50 P99 PER SECOND MEMORY WHY",
        "fp32 395 KiB 28 0.9505 - 0.401 ms 1.25 ms 2,490 90 MiB int8 is 30.0 % faster and meets every goal too",
        "✓ int8 (MinMax) 128 KiB 52 0.9498 0.999 0.28 ms 0.9 ms 3,571 - chosen",
    ]


def test_the_cpu_that_was_timed_is_told() -> None:
    rows = tuple(row.model_copy(update={"measured_on": cpu}) for row, cpu in zip(ROWS, ("AMD EPYC", None), strict=True))
    assert printed(rows)[-1] == "measured on AMD EPYC"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "0.977 KiB"), (404_480, "395 KiB"), (5 * 1024**4, "5 TiB")],
)
def test_byte_size(count: int, text: str) -> None:
    assert byte_size(count) == text
