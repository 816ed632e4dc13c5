"""How past rollouts are told."""

import pytest
from rich.console import Console

from unit.cli.models import STATES, model
from unit.core import builders
from visionmodel_cli.history import HistoryRow, history_rows, history_table
from visionmodel_operator.core.names import SPEC_FILE, WORKLOAD_FILE
from visionmodel_operator.core.revision import revision_of

OLD, NEW = (revision_of(builders.spec(number)) for number in (1, 2))
STORED = {OLD: {SPEC_FILE: "{}", WORKLOAD_FILE: "[]"}, NEW: {WORKLOAD_FILE: "[]"}}


def rows(state: str) -> tuple[HistoryRow, ...]:
    cluster = STATES[state]()
    return history_rows(model(cluster), STORED, cluster.now)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("promoted", [(NEW, "Promoted", True, False), (OLD, "Promoted", False, True)]),
        ("turned-back", [(NEW, "Aborted", False, False), (OLD, "Promoted", True, True)]),
    ],
)
def test_rows(state: str, expected: list[tuple[str, str, bool, bool]]) -> None:
    found = rows(state)
    assert [(row.revision, row.outcome, row.serves, row.can_go_back) for row in found] == expected
    assert all(row.artifact for row in found)


def test_only_what_is_kept_of_the_window_is_gone_back_to_in_one_jump() -> None:
    assert [row.in_one_jump for row in rows("promoted")] == [False, True]
    cluster = STATES["promoted"]()
    without = history_rows(model(cluster), {OLD: {SPEC_FILE: "{}"}}, cluster.now)
    assert [row.in_one_jump for row in without] == [False, False]
    for closed in ({"revisions": 0}, {"revisions": "many"}):
        found = {**model(cluster), "spec": {**cluster.document, "rollbackWindow": closed}}
        assert [row.in_one_jump for row in history_rows(found, STORED, cluster.now)] == [False, False]


def test_table() -> None:
    console = Console(width=220, no_color=True)
    with console.capture() as capture:
        console.print(history_table(rows("promoted")))
    lines = [" ".join(line.split()) for line in capture.get().splitlines() if line.strip() and "─" not in line]
    newest, oldest = rows("promoted")
    new_key, old_key = (str(row.artifact)[:12] for row in (newest, oldest))
    assert lines == [
        "REVISION TRY OUTCOME REASON ENDED REQUESTS ARTIFACT WHY",
        f"● {NEW} 1 Promoted Promoted {newest.finished_at} {newest.requests} {new_key} {newest.message}",
        f"↩⇤ {OLD} 1 Promoted Promoted {oldest.finished_at} - {old_key} {oldest.message}",
        "● serves now ↩ can be put back by undo --to ⇤ in one jump",
    ]
