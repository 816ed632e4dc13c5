import io
import json
import logging
from collections.abc import Iterator

import pytest

from visionmodel_operator.work.logs import configure_logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    stream = io.StringIO()
    configure_logs("INFO", stream)
    yield stream
    root.handlers[:], level = before
    root.setLevel(level)


def test_a_line_is_one_json_object_with_its_context(stream: io.StringIO) -> None:
    logging.getLogger("x").info("pass of\n%s", "m", extra={"context": {"namespace": "default", "name": "m"}})
    line = json.loads(stream.getvalue())
    assert {key: line[key] for key in ("level", "logger", "message", "namespace", "name")} == {
        "level": "INFO",
        "logger": "x",
        "message": "pass of\nm",
        "namespace": "default",
        "name": "m",
    }
    assert stream.getvalue().count("\n") == 1


def test_a_traceback_is_part_of_the_line(stream: io.StringIO) -> None:
    try:
        raise ValueError("bug")
    except ValueError:
        logging.getLogger("x").exception("failed")
    assert "ValueError: bug" in json.loads(stream.getvalue())["traceback"]


def test_lower_levels_and_chatty_libraries_are_silent(stream: io.StringIO) -> None:
    logging.getLogger("x").debug("no")
    logging.getLogger("kopf.objects").info("no")
    assert stream.getvalue() == ""
