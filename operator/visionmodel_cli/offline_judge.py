"""The operator's own tests on the counts of a file: what `judge --input` answers, metric by metric. Pure.

A metric fails at the first tick whose evidence reaches ln(1/falseRollbackRate), and stays failed. It passes once the
proof that was asked for is there, or, where none was, once `minSamples` were seen without harm.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from itertools import accumulate
from typing import Any, Final

from visionmodel_cli.evidence_file import AgreementQuestion, ErrorRateQuestion, Question
from visionmodel_cli.offline_tests import Test, Unusable, test_of
from visionmodel_operator.core.sequential.logarithms import log_threshold

LATE: Final = "Late"
REPEATED: Final = "Repeated"
"""A tick is used once, in time order; what comes at or before one that was seen is not used."""


class Outcome(StrEnum):
    """What the evidence says, best first."""

    PASS = "Pass"
    INCONCLUSIVE = "Inconclusive"
    NO_DATA = "NoData"
    FAIL = "Fail"


@dataclass(frozen=True)
class Judgement:
    """What one metric's ticks gave.

    Attributes:
        reached: end of the tick at which a Pass or Fail was reached, None for other verdicts.
        message: the verdict in a sentence.
        log_evidence: of harm, after each tick of the file; a tick that was not used changes nothing.
        log_proof: of safety, likewise; empty where none was asked for.
        skipped: (end, reason) of the ticks that were not used.
    """

    question: Question
    verdict: Outcome
    reached: datetime | None
    message: str
    log_evidence: tuple[float, ...]
    log_proof: tuple[float, ...]
    skipped: tuple[tuple[datetime, str], ...]


@dataclass(frozen=True)
class _Course:
    """The fold over the ticks: the test as it is, and when its verdict was reached."""

    test: Test
    newest: datetime | None = None
    used: int = 0
    failed: datetime | None = None
    passed: datetime | None = None
    reason: str = ""


def judged(question: Question) -> Judgement:
    """Return what the metric's ticks give, each used once and in the order of the file."""
    start = _Course(test_of(question))
    courses = list(accumulate(question.ticks, lambda course, tick: _after(course, tick, question), initial=start))[1:]
    last = courses[-1] if courses else start
    verdict = _verdict(last)
    ends = [tick.time for tick in question.ticks]
    return Judgement(
        question=question,
        verdict=verdict,
        reached=last.failed if verdict is Outcome.FAIL else last.passed if verdict is Outcome.PASS else None,
        message=_message(last, question, verdict),
        log_evidence=tuple(course.test.harm for course in courses),
        log_proof=tuple(course.test.proof for course in courses if course.test.proof is not None),
        skipped=tuple((end, course.reason) for end, course in zip(ends, courses, strict=True) if course.reason),
    )


def worst_of(judgements: Sequence[Judgement]) -> Outcome:
    """Return the verdict on all metrics together: Fail, else NoData, else Inconclusive, else Pass."""
    order = list(Outcome)
    return max((judgement.verdict for judgement in judgements), key=order.index)


def document_of(judgements: Sequence[Judgement]) -> dict[str, Any]:
    """Return the answer as JSON values; numbers are natural logarithms, rounded to 6 decimals."""
    return {"verdict": str(worst_of(judgements)), "metrics": [_metric_document(judgement) for judgement in judgements]}


def _after(course: _Course, tick: Any, question: Question) -> _Course:
    if course.newest is not None and tick.time <= course.newest:
        return replace(course, reason=REPEATED if tick.time == course.newest else LATE)
    try:
        test, reason, used = course.test.after(tick), "", course.used + 1
    except Unusable as missing:
        test, reason, used = course.test, str(missing), course.used
    failed, passed = course.failed, course.passed
    if failed is None and test.harm >= log_threshold(question.false_rollback_rate):
        failed = tick.time
    if passed is None and _is_enough(test, question):
        passed = tick.time
    return _Course(test, tick.time, used, failed, passed, reason)


def _is_enough(test: Test, question: Question) -> bool:
    if test.proof is not None and test.doubt is not None:
        return test.proof >= log_threshold(test.doubt)
    return test.samples >= question.min_samples


def _verdict(course: _Course) -> Outcome:
    if course.failed is not None:
        return Outcome.FAIL
    if course.used == 0:
        return Outcome.NO_DATA
    return Outcome.INCONCLUSIVE if course.passed is None else Outcome.PASS


def _message(course: _Course, question: Question, verdict: Outcome) -> str:
    test, limit = course.test, log_threshold(question.false_rollback_rate)
    rate = f"{100 * question.false_rollback_rate:g} % false-rollback rate"
    if verdict is Outcome.NO_DATA:
        reason = f": {course.reason}" if course.reason else ": the file has no ticks"
        return f"{question.name}: nothing could be judged{reason}."
    if verdict is Outcome.FAIL:
        assert course.failed is not None
        return (
            f"{question.name}: harm found at {course.failed.isoformat()} (evidence reached {limit:.3f}, {rate});"
            f" in all {test.told}."
        )
    harm = f"{question.name}: {test.told}; no harm found (evidence {max(0.0, test.harm):.3f} of {limit:.3f}, {rate})"
    if test.proof is not None and test.doubt is not None:
        needed = log_threshold(test.doubt)
        proven = "proven safe" if verdict is Outcome.PASS else "not yet proven safe"
        return f"{harm}, {proven} (evidence {max(0.0, test.proof):.3f} of {needed:.3f})."
    if verdict is Outcome.INCONCLUSIVE:
        return f"{harm}, and {test.samples} of {question.min_samples} requests or pairs are too few to pass."
    return f"{harm}."


def _metric_document(judgement: Judgement) -> dict[str, Any]:
    question = judgement.question
    document: dict[str, Any] = {"name": question.name, "type": question.type}
    if isinstance(question, ErrorRateQuestion):
        document["method"] = str(question.method)
    document |= {
        "verdict": str(judgement.verdict),
        "tick": judgement.reached.isoformat() if judgement.reached else None,
        "message": judgement.message,
        "threshold": _rounded(log_threshold(question.false_rollback_rate)),
        "logEvidence": [_rounded(value) for value in judgement.log_evidence],
    }
    if judgement.log_proof:
        document["certificate"] = _claim(question) | {"logEvidence": [_rounded(value) for value in judgement.log_proof]}
    document["skipped"] = [{"time": end.isoformat(), "reason": reason} for end, reason in judgement.skipped]
    return document


def _claim(question: Question) -> dict[str, Any]:
    """Return what a proof of safety excludes, and the log evidence that it takes."""
    match question:
        case ErrorRateQuestion():
            claim = {"maxRatio": question.max_ratio}
        case AgreementQuestion():
            claim = {"certifyAbove": question.certify_above}
        case _:
            return {}
    return {**claim, "threshold": _rounded(log_threshold(question.false_promotion_rate))}


def _rounded(value: float) -> float:
    return round(value, 6)
