"""The choice between precisions: goals refuse, then the asked improvement decides."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionmodel_contract.precision import Precision
from visionmodel_contract.report import CandidateResult, SpeedResult
from visionmodel_converter.selection import improvement_percent, with_choice

FP32, FP16, INT8 = Precision


def speed(p50: float, batch: int = 1) -> SpeedResult:
    return SpeedResult(batch=batch, runs=1000, p50_ms=p50, p90_ms=p50, p95_ms=p50, p99_ms=p50, per_second=1000 / p50)


def candidate(precision: Precision, *p50: float, refused: str | None = None) -> CandidateResult:
    times = tuple(speed(time, batch) for batch, time in zip((1, 8), p50, strict=False))
    return CandidateResult(precision=precision, speed=times, refused=refused)


@pytest.mark.parametrize(
    ("candidates", "chosen"),
    [
        pytest.param([candidate(FP32, 2.0), candidate(INT8, 1.0)], INT8, id="faster"),
        pytest.param([candidate(INT8, 1.0), candidate(FP32, 2.0)], INT8, id="in any order"),
        pytest.param([candidate(FP32, 2.0), candidate(INT8, 1.9)], INT8, id="just enough"),
        pytest.param([candidate(FP32, 2.0), candidate(INT8, 1.91)], FP32, id="not enough"),
        pytest.param([candidate(FP32, 1.0), candidate(INT8, 2.0)], FP32, id="slower"),
        pytest.param([candidate(FP32, 3.0), candidate(FP16, 2.0), candidate(INT8, 1.95)], FP16, id="against the best"),
        pytest.param([candidate(FP32, 1.0), candidate(FP16, 2.0), candidate(INT8, 0.9)], INT8, id="past a slow one"),
        pytest.param([candidate(FP32, 9.0, refused="p99"), candidate(INT8, 9.0)], INT8, id="the only one left"),
        pytest.param([candidate(FP32, 2.0), candidate(INT8, 0.1, refused="map50")], FP32, id="fast and wrong"),
        pytest.param([candidate(FP32), candidate(INT8)], FP32, id="not measured"),
        pytest.param([candidate(FP32, refused="a"), candidate(INT8, refused="b")], None, id="none"),
        pytest.param([candidate(FP32)], FP32, id="alone"),
        pytest.param([], None, id="nothing"),
    ],
)
def test_choice(candidates: list[CandidateResult], chosen: Precision | None) -> None:
    found = [one.precision for one in with_choice(candidates, 5.0) if one.chosen]
    assert found == ([] if chosen is None else [chosen])


def test_every_other_candidate_has_a_reason() -> None:
    result = with_choice(
        [candidate(FP32, 4.0), candidate(FP16, 2.0), candidate(INT8, 2.02), candidate(INT8, 1.0, refused="map50 0.1")],
        5.0,
    )
    assert [(one.chosen, one.refused) for one in result] == [
        (False, "fp16 is 50.0 % faster and meets every goal too"),
        (True, None),
        (False, "1.0 % slower than fp16; 5 % faster is asked for"),
        (False, "map50 0.1"),
    ]


@pytest.mark.parametrize(
    ("slower", "faster", "percent"),
    [
        ([speed(2.0)], [speed(1.0)], 50.0),
        ([speed(2.0), speed(100.0, 8)], [speed(1.0), speed(200.0, 8)], 0.0),
        ([speed(2.0), speed(4.0, 8)], [speed(1.0)], 50.0),
        ([speed(2.0)], [speed(1.0, 8)], math.nan),
        ([], [], math.nan),
        ([speed(2.0)], [speed(1.0).model_copy(update={"p50_ms": math.nan})], math.nan),
    ],
)
def test_improvement(slower: list[SpeedResult], faster: list[SpeedResult], percent: float) -> None:
    assert improvement_percent(slower, faster) == pytest.approx(percent, nan_ok=True)


TIMES = st.floats(0.01, 1000)


@given(st.lists(st.tuples(st.sampled_from(list(Precision)), TIMES, st.booleans()), max_size=5), st.floats(0, 50))
def test_at_most_one_is_chosen_and_never_a_refused_one(rows: list[tuple[Precision, float, bool]], asked: float) -> None:
    result = with_choice([candidate(p, t, refused="bad" if bad else None) for p, t, bad in rows], asked)
    assert sum(one.chosen for one in result) == (1 if any(not bad for _, _, bad in rows) else 0)
    assert all((one.refused is None) == one.chosen for one in result)
