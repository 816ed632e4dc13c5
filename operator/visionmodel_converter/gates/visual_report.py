"""The worst images side by side: what the source answers, what the artifact answers, what is true.

One contact sheet (PNG) and one page (HTML) that needs no other file. The same samples give the same bytes: the font
is Pillow's own, and nothing holds a time or a name of a machine.
"""

import base64
import html
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from visionmodel_contract.report import PAGE_FILE, SHEET_FILE
from visionmodel_converter.gates.comparison import Answer, Classes, Comparison
from visionmodel_converter.gates.predictions import Boxes
from visionmodel_converter.gates.samples import Truth
from visionmodel_pipeline.decoding import Pixels

PANE: Final = 320
MARGIN: Final = 8
CAPTION: Final = 40
FONT_SIZE: Final = 13
COLUMNS: Final = ("source", "artifact", "truth")
COLORS: Final = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#800000")
PAPER, INK = "#ffffff", "#202020"


@dataclass(frozen=True, slots=True)
class VisualReport:
    """The contact sheet as PNG, and the page with every row as an image of its own."""

    sheet: bytes
    page: str

    def files(self) -> dict[str, bytes]:
        """Return both by the names that they have in an artifact."""
        return {SHEET_FILE: self.sheet, PAGE_FILE: self.page.encode()}


def visual_report(
    worst: Sequence[Comparison], pixels: Callable[[str], Pixels], *, names: Sequence[str] = ()
) -> VisualReport | None:
    """Draw the worst samples; None without any.

    Args:
        worst: the samples, worst first.
        pixels: the image of a sample's name.
        names: of the classes by number; one without a name is its number.
    """
    if not worst:
        return None
    rows = [_row(comparison, Image.fromarray(pixels(comparison.name)), names) for comparison in worst]
    sheet = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)), PAPER)
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return VisualReport(_png(sheet), _page(worst, rows))


def _row(comparison: Comparison, image: Image.Image, names: Sequence[str]) -> Image.Image:
    scale = PANE / max(image.size)
    small = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    row = Image.new("RGB", (len(COLUMNS) * (PANE + MARGIN) + MARGIN, CAPTION + PANE + MARGIN), PAPER)
    draw = ImageDraw.Draw(row)
    draw.text((MARGIN, 4), f"{comparison.name[:90]}   distance {comparison.distance:.3f}", INK, _font())
    answers: tuple[Answer | Truth, ...] = (comparison.source, comparison.artifact, comparison.truth)
    for column, (title, answer) in enumerate(zip(COLUMNS, answers, strict=True)):
        left = MARGIN + column * (PANE + MARGIN)
        draw.text((left, 20), title, INK, _font())
        row.paste(_pane(small, scale, answer, names), (left, CAPTION))
    return row


def _pane(image: Image.Image, scale: float, answer: Answer | Truth, names: Sequence[str]) -> Image.Image:
    pane = image.copy()
    draw = ImageDraw.Draw(pane)
    match answer:
        case Classes():
            lines = [
                f"{_name(number, names)} {share:.3f}"
                for number, share in zip(answer.numbers, answer.shares, strict=True)
            ]
            _write(draw, (4, 4), lines, COLORS[answer.numbers[0] % len(COLORS)])
        case Boxes():
            for box, score, number in zip(answer.boxes, answer.scores, answer.classes, strict=True):
                _box(draw, box.tolist(), scale, int(number), f"{_name(int(number), names)} {float(score):.2f}")
        case Truth(label=int() as label):
            _write(draw, (4, 4), [_name(label, names)], COLORS[label % len(COLORS)])
        case Truth():
            objects = answer.objects
            if objects is None:
                _write(draw, (4, 4), ["unknown"], INK)
                return pane
            for box, number in zip(objects.boxes, objects.classes, strict=True):
                _box(draw, box.tolist(), scale, int(number), _name(int(number), names))
    return pane


def _box(draw: ImageDraw.ImageDraw, box: Sequence[float], scale: float, number: int, words: str) -> None:
    x1, y1, x2, y2 = (edge * scale for edge in box)
    color = COLORS[number % len(COLORS)]
    draw.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=color, width=2)
    _write(draw, (x1 + 2, max(0.0, y1 - FONT_SIZE - 2)), [words], color)


def _write(draw: ImageDraw.ImageDraw, at: tuple[float, float], lines: Sequence[str], color: str) -> None:
    x, y = at
    for line in lines:
        draw.rectangle(draw.textbbox((x, y), line, _font()), fill=PAPER)
        draw.text((x, y), line, color, _font())
        y += FONT_SIZE + 3


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(FONT_SIZE)


def _name(number: int, names: Sequence[str]) -> str:
    return names[number] if 0 <= number < len(names) else str(number)


def _page(worst: Sequence[Comparison], rows: Sequence[Image.Image]) -> str:
    figures = "\n".join(
        f"<figure><figcaption>{html.escape(comparison.name)}: distance {comparison.distance:.3f}</figcaption>"
        f'<img alt="{html.escape(_words(comparison))}" src="data:image/png;base64,'
        f'{base64.b64encode(_png(row)).decode()}"></figure>'
        for comparison, row in zip(worst, rows, strict=True)
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Worst samples</title>'
        "<style>body{font-family:sans-serif;margin:2em}figure{margin:0 0 2em}img{max-width:100%}</style></head>\n"
        f"<body><h1>The {len(worst)} samples on which source and artifact differ most</h1>\n"
        "<p>Left the source model, in the middle the artifact, right the ground truth. The distance is 0 where both "
        "answer the same and 1 where nothing is shared.</p>\n"
        f"{figures}\n</body></html>\n"
    )


def _words(comparison: Comparison) -> str:
    return f"{comparison.name}: source {_count(comparison.source)}, artifact {_count(comparison.artifact)}"


def _count(answer: Answer) -> str:
    return f"class {answer.numbers[0]}" if isinstance(answer, Classes) else f"{len(answer)} objects"


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
