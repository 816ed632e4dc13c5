"""Whole manifests of the canonical VisionModels; a diff here is what users' clusters would see."""

import json

import pytest

from unit.render import samples
from visionmodel_operator.render import operations


@pytest.mark.parametrize("case", samples.CASES)
def test_golden(case: str) -> None:
    action, picture = samples.CASES[case]
    expected = json.loads((samples.GOLDEN / f"{case}.json").read_text(encoding="utf-8"))
    assert samples.plain(operations(action, picture)) == expected


def test_no_forgotten_golden_files() -> None:
    assert {path.stem for path in samples.GOLDEN.glob("*.json")} == set(samples.CASES)
