"""What a running conversion tells the outside, and what it has learned when it fails half-way."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TextIO

from visionmodel_contract.report import Resolved
from visionmodel_converter.stages import DONE, STARTS_AT, Stage

MOST_OFTEN: Final = timedelta(seconds=1)


@dataclass
class Journal:
    """Progress as JSON lines on a stream (the operator reads the last one) and facts for the failure's summary."""

    out: TextIO
    now: Callable[[], datetime]
    resolved: Resolved = field(default_factory=Resolved)
    _said: datetime | None = field(default=None, init=False)

    def learn(self, **facts: str | None) -> None:
        """Remember fields of `Resolved`."""
        self.resolved = self.resolved.model_copy(update=facts)

    def begin(self, stage: Stage, message: str) -> None:
        """Write the line that a stage starts."""
        self._write(stage.value, STARTS_AT[stage], message)

    def say(self, stage: Stage, message: str) -> None:
        """Write a line about a stage that goes on, at most one a second."""
        now = self.now()
        if self._said is None or now - self._said >= MOST_OFTEN:
            self._said = now
            self.begin(stage, message)

    def end(self, message: str) -> None:
        """Write the last line of a successful run."""
        self._write("Done", DONE, message)

    def fail(self, reason: str, message: str) -> None:
        """Write the last line of a failed run: reason in place of the stage, no progress."""
        self._write(reason, 0, message)

    def _write(self, stage: str, progress: int, message: str) -> None:
        line = {"time": self.now().isoformat(), "stage": stage, "progress": progress, "message": message}
        self.out.write(json.dumps(line, ensure_ascii=False) + "\n")
        self.out.flush()
