"""The three kinds of error; there is no fourth.

Error:
    ├── Retry       the world is not ready (conflict, timeout, outage): look again after a delay
    ├── UserError   the user must change something: a condition says what, no retry until the spec changes
    └── (anything else is a bug: traceback in the log, condition InternalError, back-off)

Adapters translate third-party exceptions into these and chain the cause.
"""


class Error(Exception):
    """Root of the errors that the reconcile loop understands."""


class Retry(Error):
    """Something outside delays this pass; it decides nothing.

    Attributes:
        delay: seconds until the next look, or None for the queue's own back-off.
    """

    def __init__(self, message: str, *, delay: float | None = None) -> None:
        super().__init__(message)
        self.delay = delay


class UserError(Error):
    """Only the user can mend this.

    Attributes:
        reason: CamelCase constant for the condition.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
