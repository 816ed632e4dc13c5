"""The worst images as pictures: where boxes are drawn, in which order, and that the page needs no other file."""

import base64
import io
import re

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from visionmodel_converter.gates.comparison import Classes, Comparison
from visionmodel_converter.gates.predictions import Boxes
from visionmodel_converter.gates.samples import TrueBoxes, Truth
from visionmodel_converter.gates.visual_report import CAPTION, COLORS, MARGIN, PANE, VisualReport, visual_report


def grey(_: str) -> NDArray[np.uint8]:
    return np.full((160, 160, 3), 90, np.uint8)


def found(*boxes: list[float], number: int = 0) -> Boxes:
    return Boxes(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(len(boxes), 0.75, np.float32),
        np.full(len(boxes), number, np.int64),
    )


def objects(*boxes: list[float]) -> Truth:
    count = len(boxes)
    return Truth(
        objects=TrueBoxes(np.array(boxes, float).reshape(-1, 4), np.zeros(count, np.int64), np.zeros(count, np.bool_))
    )


DETECTION = Comparison("a.png", 0.5, found([20, 40, 60, 80]), found([100, 100, 140, 140]), objects([20, 40, 60, 80]))
CLASSIFIED = Comparison("<b>.png", 0.25, Classes((1, 0), (0.8, 0.2)), Classes((0, 1), (0.6, 0.4)), Truth(label=1))


def drawn(*comparisons: Comparison) -> VisualReport:
    report = visual_report(comparisons, grey, names=("circle", "square"))
    assert report is not None
    return report


def sheet(report: VisualReport) -> Image.Image:
    return Image.open(io.BytesIO(report.sheet)).convert("RGB")


def test_boxes_are_drawn_where_they_are() -> None:
    """Panes are twice as large as the image; the left edge of each box at half its height."""
    picture = sheet(drawn(DETECTION))
    color = ImageColor.getrgb(COLORS[0])
    for column, (x, y) in enumerate([(20, 60), (100, 120), (20, 60)]):
        left = MARGIN + column * (PANE + MARGIN)
        assert picture.getpixel((left + 2 * x, CAPTION + 2 * y)) == color
    artifact = MARGIN + PANE + MARGIN
    assert picture.getpixel((artifact + 2 * 20, CAPTION + 2 * 60)) == (90, 90, 90)


def test_rows_are_in_the_order_of_the_samples() -> None:
    one, two = sheet(drawn(DETECTION)), sheet(drawn(DETECTION, CLASSIFIED))
    assert two.size == (one.width, 2 * one.height)
    assert two.crop((0, 0, one.width, one.height)).tobytes() == one.tobytes()


def test_the_same_samples_give_the_same_bytes() -> None:
    first, second = drawn(DETECTION, CLASSIFIED), drawn(DETECTION, CLASSIFIED)
    assert (first.sheet, first.page) == (second.sheet, second.page)


def test_the_page_needs_no_other_file() -> None:
    page = drawn(DETECTION, CLASSIFIED).page
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) == 2
    for source in sources:
        prefix, _, data = source.partition(",")
        assert prefix == "data:image/png;base64"
        assert Image.open(io.BytesIO(base64.b64decode(data))).size == (3 * PANE + 4 * MARGIN, CAPTION + PANE + MARGIN)
    assert re.search(r"(?i)<script|<link|https?://", page) is None


def test_names_are_text_and_never_markup() -> None:
    page = drawn(CLASSIFIED).page
    assert "<b>.png" not in page
    assert "&lt;b&gt;.png: distance 0.250" in page
    assert "source class 1, artifact class 0" in page


def test_labels_differ_in_the_picture() -> None:
    same = Comparison("b", 0.0, CLASSIFIED.source, CLASSIFIED.source, CLASSIFIED.truth)
    row = sheet(drawn(same))
    panes = [row.crop((left, CAPTION, left + PANE, CAPTION + PANE)) for left in (MARGIN, 2 * MARGIN + PANE)]
    assert panes[0].tobytes() == panes[1].tobytes()
    other = sheet(drawn(CLASSIFIED)).crop((2 * MARGIN + PANE, CAPTION, 2 * MARGIN + 2 * PANE, CAPTION + PANE))
    assert other.tobytes() != panes[1].tobytes()


def test_nothing_to_show_is_no_report() -> None:
    assert visual_report([], grey) is None


def test_files() -> None:
    report = drawn(DETECTION)
    assert report.files() == {"worst.png": report.sheet, "worst.html": report.page.encode()}
