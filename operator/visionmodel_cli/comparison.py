"""The table of precisions, as people read it: one row per candidate, one line of reason below those not chosen."""

from collections.abc import Sequence

from rich import box
from rich.table import Table

from visionmodel_contract.report import CandidateRow, byte_size

NOTHING = "-"


def comparison_table(rows: Sequence[CandidateRow]) -> Table:
    """Return the table; metrics get a column each, in the order in which they first appear."""
    metrics = list(dict.fromkeys(name for row in rows for name in row.metrics))
    cpus = ", ".join(dict.fromkeys(row.measured_on for row in rows if row.measured_on))
    caption = f"measured on {cpus}" if cpus else None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=caption, caption_justify="left")
    table.add_column("")
    table.add_column("PRECISION")
    for column in ("SIZE", "NODES", *metrics, "P50", "P99", "PER SECOND", "MEMORY"):
        table.add_column(column, justify="right")
    table.add_column("WHY", overflow="fold")
    for row in rows:
        table.add_row(
            "✓" if row.chosen else "",
            f"{row.precision} ({row.method})" if row.method else row.precision.value,
            byte_size(row.size_bytes),
            str(row.nodes),
            *(f"{row.metrics[name]:.4g}" if name in row.metrics else NOTHING for name in metrics),
            _milliseconds(row.p50_ms),
            _milliseconds(row.p99_ms),
            NOTHING if row.per_second is None else f"{row.per_second:,.0f}",
            NOTHING if row.peak_memory_bytes is None else byte_size(row.peak_memory_bytes),
            row.refused or ("chosen" if row.chosen else ""),
            style="bold" if row.chosen else None,
        )
    return table


def _milliseconds(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3g} ms"
