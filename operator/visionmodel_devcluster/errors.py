"""The exception of this package: something the person at the terminal can act on.

Everything else is a bug and keeps its traceback.
"""


class DevClusterError(Exception):
    """A refusal or a failure whose text says what to do next."""


class ProcessEndedError(DevClusterError):
    """A process that should run has ended by itself; the text has the end of its log."""
