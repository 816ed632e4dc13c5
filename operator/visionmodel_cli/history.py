"""How the last rollouts ended, newest first, and which revisions can be put back. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from pydantic.alias_generators import to_camel
from rich import box
from rich.table import Table

from visionmodel_cli.actions import status_in, window_of
from visionmodel_operator.core import memory, names
from visionmodel_operator.core.window import revisions_in_window

NOTHING = "-"
ARTIFACT_DIGITS = 12
"""Of an artifact's key in the table; JSON has all of it."""


@dataclass(frozen=True)
class HistoryRow:
    """One rollout that has ended.

    Attributes:
        requests: of the canary that were judged.
        artifact: key of what was served, None where it is not kept.
        serves: it is the stable revision now.
        can_go_back: its spec is stored, so that `undo --to` can put it back.
        in_one_jump: it was stable lately, so that all requests go back to it at once, without steps.
    """

    revision: str
    attempt: int
    outcome: str
    reason: str
    message: str
    started_at: str
    finished_at: str
    requests: int
    artifact: str | None
    serves: bool
    can_go_back: bool
    in_one_jump: bool

    def document(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        return {to_camel(key): value for key, value in asdict(self).items() if value is not None}


def history_rows(
    model: Mapping[str, Any], stored: Mapping[str, Mapping[str, str]], now: datetime
) -> tuple[HistoryRow, ...]:
    """Return one row for each rollout in the status; `stored` is what is kept of each revision."""
    status = status_in(model)
    lately = revisions_in_window(status, window_of(model), now)
    stable = status.stable.revision if status.stable else None
    return tuple(
        HistoryRow(
            revision=entry.revision,
            attempt=entry.attempt,
            outcome=entry.outcome.value,
            reason=entry.reason,
            message=entry.message,
            started_at=entry.started_at.isoformat(timespec="seconds"),
            finished_at=entry.finished_at.isoformat(timespec="seconds"),
            requests=entry.requests,
            artifact=memory.known_key(status, entry.revision),
            serves=entry.revision == stable,
            can_go_back=names.SPEC_FILE in stored.get(entry.revision, {}),
            in_one_jump=entry.revision in lately and names.WORKLOAD_FILE in stored.get(entry.revision, {}),
        )
        for entry in status.history
    )


def history_table(rows: Sequence[HistoryRow]) -> Table:
    """Return the table."""
    caption = "● serves now   ↩ can be put back by undo --to   ⇤ in one jump"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=caption, caption_justify="left")
    table.add_column("")
    for column in ("REVISION", "TRY", "OUTCOME", "REASON", "ENDED", "REQUESTS", "ARTIFACT"):
        table.add_column(column, no_wrap=column == "REVISION", justify="right" if column == "REQUESTS" else "left")
    table.add_column("WHY", overflow="fold")
    for row in rows:
        table.add_row(
            _marks(row),
            row.revision,
            str(row.attempt),
            row.outcome,
            row.reason,
            row.finished_at,
            f"{row.requests:,}" if row.requests else NOTHING,
            (row.artifact or NOTHING)[:ARTIFACT_DIGITS],
            row.message,
        )
    return table


def _marks(row: HistoryRow) -> str:
    if row.serves:
        return "●"
    return ("↩" if row.can_go_back else "") + ("⇤" if row.in_one_jump else "")
