"""The text of docs/benchmarks-judge.md around the tables."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from bench.judge import cells, tables
from bench.judge.measure import Fired
from bench.judge.tables import Null, Results
from bench.judge.totals import Question, Scores

BEGIN = "<!-- bench.judge -->"
END = "<!-- end of bench.judge -->"

INTRODUCTION = """`make bench-judge` writes this part: seed {seed} (fixed in `bench/judge/cells.py` before the first
run), {runs:,} runs per cell unless a row or text says otherwise, {simulated:,} simulated rollouts in all, numpy
{numpy}. Judged: `visionmodel_operator.core.sequential`, SHA-256 of its sources {digest}.

Counts of a tick (15 s) are Poisson, errors binomial. Tests on totals are asked for their boundary and run as they are;
the others run as numpy twins (`bench/judge/twins.py`), which unit tests hold to the product on random ticks, and of
which {replayed} rollouts in every {chunk:,} were judged by the product as well during this run, with the same evidence
to 1e-6 at every tick.
"""

NULLS = """## Is the false-alarm rate kept?

Nothing is wrong in any row (the certificate: the canary is exactly as bad as it must not be), so each test should fire
with probability at most alpha, over all looks together. "Limit" is the upper 99.9 % Clopper-Pearson limit of the rate;
a claim holds where even the limit is within alpha. Rows that nobody claims are there to show what they would do.

{summary}
"""

IDENTICAL = """## False rollback of a canary identical to stable

120 ticks of 15 s, 100 requests/s. Percent of the rollouts; in brackets the design's figure, with the deviation in
standard errors of the difference where it is above 3. The z-test is one-sided and pooled over all requests so far, and
is first looked at with 5 errors. That, and the period of the swing (ten minutes), are not in the design's text: they
were chosen, before the seed's run, because they meet its z columns.
"""

OWN = """## Noise of each group's own

A gamma factor per tick and group (canary, baseline group, rest of stable), base 1 %, 200 requests/s, 10 % canary,
30 minutes, alpha 1 %. Percent of false rollbacks, and the median minutes until a canary twice as bad is found. The
design's text does not say how its stable group was made up; ours is two groups, each with its own factor.
"""

GATES = """## Gates on a threshold

What "at least 99 % answered well" does per one-minute check, in the shape of Flagger and of Argo Rollouts. The good
canary truly fails 0.5 %, the bad one 1 %: exactly at the gate, so more traffic does not help. A check without requests
fails.
"""

DETECTION = """## Detection by steps

Steps 5/10/25/50 of 5 minutes, alpha 1 %. Percent found by the end, and by the end of the second step; "failed" is the
median number of the canary's failed requests at the moment of detection.
"""

LATE = """## Faults that begin late

200 requests/s, base 1 %, 10 % canary, 90 minutes; median minutes from the fault to its alarm at alpha 1 %, and runs
(of {runs:,}) that fired before there was a fault, which is false alarm.
"""

POWER = """## Distance from the best possible test

Mean canary requests until a bad canary is found, over Wald's two-arm bound ln(1/alpha) / KL, which no test with that
alpha and power 1 goes below; ± is 3 standard errors of the simulation ({runs:,} runs). Claimed: at most 1.5 for plain
counts, ratio 2, canary share <= 10 %. Within ± of 1.5 it is not shown, above it is missed. alpha 0.25 % is what a
metric may spend when four share 1 %; "planned" is the planning formula's median.
Ticks are small against the bound, but in the last two rows, which have the 15 s of a real rollout.
"""

CERTIFICATE = """## Proof of safety

10 % canary, truly equal, beta 5 %: median canary requests until "less than so many times as bad" is proven.
"""

ANSWERS = """## Agreement, McNemar, split

Median pairs, discordant pairs or requests until the test fires. Agreement is looked at every 10 pairs, the split every
50 requests.
"""


def document(
    results: Results, answers: Mapping[Question, Fired], scores: Mapping[Scores, Fired], facts: Mapping[str, object]
) -> str:
    """Return the generated part of the document."""
    return "\n".join(
        (
            BEGIN,
            INTRODUCTION.format(seed=cells.SEED, runs=cells.RUNS, numpy=np.__version__, **facts),
            *_error_rates(results, tables.nulls(results, answers, scores)),
            *_reactions(results),
            CERTIFICATE,
            *_table(("base", "less than", "median", "design", "planned"), tables.certificate_rows(results)),
            ANSWERS,
            *_table(("test", "truth", "alpha", "median", "design"), tables.answer_rows(answers, scores)),
            END,
        )
    )


def _error_rates(results: Results, found: list[Null]) -> Iterator[str]:
    """Yield the lines on false alarms."""
    yield NULLS.format(summary=summary(found))
    yield from _table(("method", "traffic", "runs", "fired", "rate", "limit", "alpha", ""), tables.null_rows(found))
    yield IDENTICAL
    columns = ("case", "z p<.05 every tick", "z at the end", "counts 5 %", "counts 1 %", "with late faults 1 %")
    yield from _table(columns, tables.identical_rows(results))
    yield OWN
    methods = ("noise CV", "plain counts", "tempered", "sign betting", "with late faults")
    yield from _table(methods, tables.own_rows(results))
    yield GATES
    yield from _table(("gate", "requests/s", "good rolled back, %", "bad promoted, %"), tables.gate_rows())


def _reactions(results: Results) -> Iterator[str]:
    """Yield the lines on how soon harm is found."""
    yield DETECTION
    columns = ("case", "counts", "by step 2", "with late faults", "by step 2", "failed")
    yield from _table(columns, tables.detection_rows(results))
    yield LATE.format(runs=cells.WALD_RUNS)
    yield from _table(("case", "counts", "with late faults"), tables.late_rows(results))
    yield POWER.format(runs=cells.WALD_RUNS)
    size, bound = ("base", "worse", "share", "alpha", "canary requests per tick"), ("bound", "mean / bound")
    rest = ("median / bound", "mean / bound with late faults", "planned / median", "<= 1.5")
    yield from _table((*size, *bound, *rest), tables.power_rows(results))


def summary(found: list[Null]) -> str:
    """Return how many claims hold, and which do not."""
    claimed = [null for null in found if null.is_claimed]
    failed = [f"{null.method} ({null.traffic})" for null in claimed if not null.holds]
    text = f"{len(claimed) - len(failed)} of {len(claimed)} claims hold."
    return text + (f" Not shown: {'; '.join(failed)}." if failed else "")


def _table(columns: tuple[str, ...], rows: Iterable[str]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    yield from rows
    yield ""
