"""Words in which the judge states its numbers."""

from visionmodel_operator.core.judge_state import MAX_TEXT, Finding
from visionmodel_operator.core.sequential.logarithms import log_threshold


def finding(tick: float, reason: str, message: str) -> Finding:
    """Return what was found at the tick that ends then, its message no longer than status keeps."""
    return Finding(tick, reason, message[:MAX_TEXT])


def comparison(evidence: float, alpha: float, rate: float) -> str:
    """Return log evidence against the threshold of a test at `alpha`, its share of the false-rollback rate."""
    threshold = log_threshold(alpha)
    sign = ">=" if evidence >= threshold else "of"
    return f"evidence {max(0.0, evidence):.1f} {sign} {threshold:.1f} ({100 * rate:g} % false-rollback rate)"


def share(hits: int, requests: int) -> str:
    """Return "12 of 240 (5.0 %)"; no percentage without requests."""
    return f"{hits} of {requests}" + (f" ({_percent(hits / requests)})" if requests else "")


def _percent(part: float) -> str:
    """Return a measured share as percent with two digits: 12 %, 5.0 %, 0.14 %."""
    percent = 100 * part
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.1f} %" if percent >= 1 else f"{percent:.2g} %"
