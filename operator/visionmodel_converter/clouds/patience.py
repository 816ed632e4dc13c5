"""How long a client waits for a store, and how often it tries again before the Job has to."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Retry:
    """How long the object-store client itself tries again before the Job has to."""

    attempts: int = 5
    first_wait: timedelta = timedelta(milliseconds=500)
    longest_wait: timedelta = timedelta(seconds=10)
    deadline: timedelta = timedelta(minutes=2)
