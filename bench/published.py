"""Where measured tables go: into the part of a document that is between two marks."""

from pathlib import Path


def publish(document: Path, text: str, marks: tuple[str, str]) -> None:
    """Put `text`, which begins and ends with the marks, in place of what stands between them, or at the end.

    Raises:
        OSError: there is no such document, or it cannot be written.
    """
    begin, end = marks
    before, _, rest = document.read_text(encoding="utf-8").partition(begin)
    document.write_text(before + text + rest.partition(end)[2], encoding="utf-8")
