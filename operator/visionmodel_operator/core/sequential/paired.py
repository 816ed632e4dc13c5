"""Whose mistake are the pairs in which exactly one of canary and stable is wrong? McNemar's test, made sequential.

For labelled requests that both revisions answered. Pairs in which both are right or both wrong say nothing; of the
discordant ones the canary's fault has a share of at most 1/2 while it is no worse. The alternative is uniform on
(1/2, 1], which makes the test the one of `proportion` with limit 1/2.
"""

from visionmodel_operator.core.sequential.proportion import log_evidence_above


def log_evidence(only_canary_wrong: int, only_stable_wrong: int) -> float:
    """Return ln M against "a discordant pair is the canary's fault with probability at most 1/2", from the totals.

    Raises ValueError on negative counts.
    """
    return log_evidence_above(only_canary_wrong + only_stable_wrong, only_canary_wrong, 0.5)
