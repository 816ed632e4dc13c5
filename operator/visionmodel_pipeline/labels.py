"""What a class is called in an answer."""

from collections.abc import Sequence


def name_of(number: int, labels: Sequence[str]) -> bytes:
    """Return a class's name in UTF-8; one without a name is its number."""
    return (labels[number] if 0 <= number < len(labels) else str(number)).encode()
