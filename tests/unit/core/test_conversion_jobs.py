"""Which Jobs an attempt has, and which of them it waits for."""

from unit.core.test_conversions import ENGINES, ENGINES_REVISION, JOB, PINNED, REVISION, build_job, seen, with_engines
from visionmodel_operator.core import names
from visionmodel_operator.core.conversion_jobs import current_job, job_names


def test_jobs_of_an_attempt() -> None:
    assert job_names(seen(PINNED), REVISION, 1) == (JOB,)
    assert job_names(seen(ENGINES), ENGINES_REVISION, 2) == (
        f"shapes-{ENGINES_REVISION}-prepare-2",
        f"shapes-{ENGINES_REVISION}-prepare-again-2",
        f"shapes-{ENGINES_REVISION}-build-0-2",
        f"shapes-{ENGINES_REVISION}-build-1-2",
    )


def test_names_fit_a_label_and_are_apart() -> None:
    for attempt in (1, 2, 11):
        name = names.prepare_again_job("m" * 60, REVISION, attempt)
        assert len(name) <= names.MAX_LABEL_LENGTH
        assert name != names.prepare_again_job("m" * 61, REVISION, attempt)


def test_an_attempt_waits_for_the_first_job_at_work() -> None:
    _, again, first, second = job_names(seen(ENGINES), ENGINES_REVISION, 1)
    there = {name: build_job(finished, name=name) for name, finished in ((again, True), (first, False), (second, None))}
    assert current_job(with_engines(there), ENGINES_REVISION, 1) == there[second]
    there[again] = build_job(None, name=again)
    assert current_job(with_engines(there), ENGINES_REVISION, 1) == there[again]
    assert current_job(with_engines({again: build_job(True, name=again)}), ENGINES_REVISION, 1) is not None
    assert current_job(with_engines(), ENGINES_REVISION, 1) is None
