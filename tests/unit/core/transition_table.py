"""docs/rollout-table.md as data."""

import re
from dataclasses import dataclass
from pathlib import Path

from unit.core.simulated_cluster import State

TABLE = Path(__file__).parents[3] / "docs" / "rollout-table.md"


@dataclass(frozen=True)
class Row:
    """One row: any of `sources` may become any of `targets` on the event."""

    sources: frozenset[State]
    event: str
    targets: frozenset[State]
    text: str

    def allows(self, before: State, after: State) -> bool:
        """Whether this row explains a transition."""
        return before in self.sources and after in self.targets


def rows_of_the_slice() -> tuple[Row, ...]:
    """Return the rows of the slice, in order."""
    text = TABLE.read_text(encoding="utf-8")
    groups = {name: states for name, states in re.findall(r"^- \*\*(.+?)\*\*: (.+)$", text, flags=re.MULTILINE) if name}
    part = text.split("## In the slice")[1].split("## What people may wonder about")[0]
    cells = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in part.splitlines() if "|" in line]
    wanted = [row for row in cells if row[0] != "from" and not row[0].startswith("-")]
    return tuple(
        Row(_states(source, groups), event, _states(target, groups), f"{source} -> {target}: {event}")
        for source, event, target in wanted
    )


def _states(cell: str, groups: dict[str, str]) -> frozenset[State]:
    states: set[State] = set()
    for word in cell.split(", "):
        states |= _states(groups[word], {}) if word in groups else {_state(word)}
    return frozenset(states)


def _state(word: str) -> State:
    if word == "None":
        return "", ""
    found = re.fullmatch(r"([A-Za-z]+)\(([A-Za-z]+)\)", word)
    assert found, f"{word!r} is no state and no group"
    return found[1], found[2]
