"""What people ask for by annotation: promote, abort, retry, pause.

An action names the revision and the attempt it is meant for, and acts once: a stale annotation, one reverted
by GitOps, or one left over from an earlier attempt does nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from visionmodel_operator.core import names

MAX_STEP_DIGITS = 3
MAY_SERVE = 0
"""The step whose promotion lets a conversion serve (`autoApply: false`): steps of a rollout count from 1."""


@dataclass(frozen=True)
class Requests:
    """The annotations that name the rollout at hand and were not acted on before.

    Attributes:
        promote_step: number of the step to leave, counted from 1; MAY_SERVE stands before the first.
        promote_full: skip all gates that are left.
        consumed: the entries to record once one of them is acted on.
    """

    promote_step: int | None = None
    promote_full: bool = False
    abort: bool = False
    retry: bool = False
    pause: bool = False
    consumed: tuple[str, ...] = ()


def requests_for(annotations: Mapping[str, str], revision: str, attempt: int, consumed: Sequence[str]) -> Requests:
    """Return what is asked of one attempt at one revision."""
    mine = f"{revision}/{attempt}"
    promote = _fresh("promote", annotations.get(names.ANNOTATION_PROMOTE, ""), consumed)
    abort = _fresh("abort", annotations.get(names.ANNOTATION_ABORT, ""), consumed)
    retry = _fresh("retry", annotations.get(names.ANNOTATION_RETRY, ""), consumed)
    step = _step_in(promote, mine)
    meant = (
        ("promote", promote, promote == mine or step is not None),
        ("abort", abort, abort == mine),
        ("retry", retry, retry == mine),
    )
    return Requests(
        promote_step=step,
        promote_full=promote == mine,
        abort=abort == mine,
        retry=retry == mine,
        pause=annotations.get(names.ANNOTATION_PAUSE) == "true",
        consumed=tuple(f"{verb}={value}" for verb, value, is_meant in meant if is_meant),
    )


def _step_in(promote: str, mine: str) -> int | None:
    """Return the step that is named; annotations are anybody's text, so only a few plain digits count."""
    prefix, _, step = promote.rpartition("/")
    is_number = step.isascii() and step.isdigit() and len(step) <= MAX_STEP_DIGITS
    return int(step) if prefix == mine and is_number else None


def _fresh(verb: str, value: str, consumed: Sequence[str]) -> str:
    return "" if f"{verb}={value}" in consumed else value


def may_serve(consumed: Sequence[str], requests: Requests, revision: str, attempt: int) -> bool:
    """Return whether somebody let an attempt serve, by its step MAY_SERVE or in full, now or earlier."""
    mine = f"promote={revision}/{attempt}"
    is_asked = requests.promote_full or requests.promote_step == MAY_SERVE
    return is_asked or mine in consumed or f"{mine}/{MAY_SERVE}" in consumed


def remember(consumed: Sequence[str], requests: Requests, verb: str) -> list[str]:
    """Return the recorded actions with the one that was just acted on; the eight newest are enough."""
    return [*consumed, *(entry for entry in requests.consumed if entry.startswith(f"{verb}="))][-8:]
