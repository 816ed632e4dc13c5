"""The table of faults: what was done to the system in the middle of a rollout, what it cost, and how it ended.

A test with the mark `fault` adds its row once it has passed. The table is printed after the suite, and written into
docs/faults.md by `make fault-table`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.published import publish

from e2e.scene import Scene

BEGIN, END = "<!-- faults -->", "<!-- end of faults -->"
HEADER = "| fault | requests | lost | failed by the bad version itself | end |\n|---|---|---|---|---|"


@dataclass(frozen=True)
class FaultRow:
    """One fault under load.

    Attributes:
        fault: what was done, in words.
        sent: requests of the load that spans it; `lost` of them nobody answered, and `own` the canary failed itself.
        end: phase and reason at the end, with how the rollout ended.
    """

    fault: str
    sent: int
    lost: int
    own: int
    end: str

    def __str__(self) -> str:
        """Return the row."""
        return f"| {self.fault} | {self.sent} | {self.lost} | {self.own} | {self.end} |"


def row_of(fault: str, scene: Scene) -> FaultRow:
    """Return the row of a test that has passed, while its VisionModel is still there."""
    reports = scene.reports
    return FaultRow(
        fault,
        sum(report.sent for report in reports),
        sum(report.lost for report in reports),
        sum(report.own for report in reports),
        _end_of(scene),
    )


def _end_of(scene: Scene) -> str:
    status = scene.model.status()
    if not status:
        return "deleted"
    end = f"{status['phase']}({status['reason']})"
    newest = status.get("history", [{}])[0]
    return f"{end}, {newest['outcome']}({newest['reason']})" if "rollout" not in status and newest else end


def table_of(rows: Sequence[FaultRow]) -> str:
    """Return the table in Markdown."""
    return "\n".join([HEADER, *map(str, rows)])


def write_table(rows: Sequence[FaultRow], path: Path) -> None:
    """Put the table in place of the one in a document."""
    publish(path, f"{BEGIN}\n{table_of(rows)}\n{END}", (BEGIN, END))
