"""The rows of the document, from what was measured."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from bench.judge import cells, gates, published, wald
from bench.judge.cells import Cell, Method, claims
from bench.judge.measure import AT_THE_END, Fired, Found, seeded
from bench.judge.statistics import deviation, upper_limit
from bench.judge.totals import QUESTIONS, SCORES, Question, Scores
from bench.judge.traffic import MINUTE
from visionmodel_operator.core.sequential import planning

Results = Mapping[str, Found]
ALLOWED_DEVIATION = 3.0
CLAIMED_FACTOR = 1.5


@dataclass(frozen=True)
class Null:
    """One method on traffic that should make it fire at most with probability alpha."""

    method: str
    traffic: str
    fired: Fired
    alpha: float
    is_claimed: bool

    @property
    def limit(self) -> float:
        """Return the upper limit of the rate."""
        return upper_limit(self.fired.count, self.fired.runs)

    @property
    def holds(self) -> bool:
        """Return whether even that limit is within alpha."""
        return self.limit <= self.alpha


def nulls(results: Results, answers: Mapping[Question, Fired], scores: Mapping[Scores, Fired]) -> list[Null]:
    """Return every null hypothesis that was simulated, claimed or not."""
    found = [
        Null(method, cell.name, results[cell.name][method, _spent(method)], _spent(method), _claims(method, cell))
        for cell in (*cells.IDENTICAL, *cells.OWN_NULL, *cells.OTHER_NULL, *cells.UNSAFE)
        for method in cell.methods
        if method is not Method.Z_TEST
    ]
    found += [Null(known.method, known.name, answers[known], known.alpha, True) for known in QUESTIONS if known.is_null]
    found += [Null("graded scores", known.name, scores[known], known.alpha, True) for known in SCORES if known.is_null]
    order = list(dict.fromkeys(null.method for null in found))
    return sorted(found, key=lambda null: (order.index(null.method), not null.is_claimed))


def null_rows(found: list[Null]) -> Iterator[str]:
    """Yield one row per null hypothesis."""
    for null in found:
        if null.is_claimed:
            verdict = "holds" if null.holds else "**not shown**"
        else:
            verdict = "not claimed" + ("" if null.holds else ", above")
        yield (
            f"| {null.method} | {null.traffic} | {null.fired.runs:,} | {null.fired.count:,} | {_percent(null.fired)}"
            f" | {100 * null.limit:.3f} % | {100 * null.alpha:g} % | {verdict} |"
        )


def identical_rows(results: Results) -> Iterator[str]:
    """Yield the false rollbacks of a canary identical to stable."""
    columns = (
        (Method.Z_TEST, 0.05),
        (Method.Z_TEST, AT_THE_END),
        (Method.COUNTS, 0.05),
        (Method.COUNTS, 0.01),
    )
    for name, figures in published.IDENTICAL.items():
        found = [_compared(results[name][key], figure) for key, figure in zip(columns, figures, strict=True)]
        yield f"| {name} | {' | '.join(found)} | {_percent(results[name][Method.LATE, 0.01])} |"


def own_rows(results: Results) -> Iterator[str]:
    """Yield false rollbacks and reaction under noise of each group's own."""
    for cv, null, twice in zip(cells.OWN_CVS, cells.OWN_NULL, cells.OWN_TWICE, strict=True):
        texts = []
        known = zip((Method.COUNTS, Method.TEMPERED, Method.SIGN), published.OWN[cv], strict=True)
        for index, (method, figure) in enumerate(known):
            minutes = published.OWN_MINUTES[cv][index] if cv in published.OWN_MINUTES else None
            fired = results[twice.name][method, 0.01]
            told = f" ({minutes})" if minutes else ""
            texts.append(f"{_compared(results[null.name][method, 0.01], figure)}; med {_minutes(fired)}{told}")
        yield f"| {cv:g} | {' | '.join(texts)} | {_percent(results[null.name][Method.LATE, 0.01])} |"


def detection_rows(results: Results) -> Iterator[str]:
    """Yield the chance that a bad canary is found."""
    for cell in cells.DETECTION:
        end, second = published.DETECTION[cell.name]
        texts = []
        for method in cell.methods:
            fired = results[cell.name][method, 0.01]
            figures = (end, second) if method is Method.COUNTS else (None, None)
            texts += [_compared(fired, figures[0]), _compared(fired, figures[1], fired.count_by(10 * MINUTE))]
        fired = results[cell.name][Method.COUNTS, 0.01]
        failed = fired.median_requests() * cell.scenario.base * cell.scenario.ratio
        yield f"| {cell.name} | {' | '.join(texts)} | {'-' if np.isinf(failed) else f'{failed:.0f}'} |"


def late_rows(results: Results) -> Iterator[str]:
    """Yield the minutes from a fault to its alarm."""
    for minute, cell in zip(cells.LATE_ONSETS, cells.LATE, strict=True):
        texts = []
        for method, word in ((Method.COUNTS, "counts"), (Method.LATE, "late")):
            fired = results[cell.name][method, 0.01]
            before = fired.count_by(minute * MINUTE)
            told = published.LATE_MINUTES[minute, word]
            texts.append(f"{fired.median_tick() / MINUTE - minute:.2f} ({told}); {before} before the fault")
        yield f"| {cell.name} | {' | '.join(texts)} |"


def gate_rows() -> Iterator[str]:
    """Yield what gates on an error rate of 1 % do to a good (0.5 %) and to a twice as bad canary (1 %)."""
    climbing, flat = tuple(check / 50 for check in range(1, 26)), (0.1,) * 5
    for rate, told in published.FLAGGER.items():
        random = seeded(f"Flagger {rate}")
        good = gates.failed_checks(rate, climbing, 0.005, cells.RUNS, random)
        bad = gates.failed_checks(rate, climbing, 0.01, cells.RUNS, random)
        yield f"| 25 checks at 2..50 %, threshold 5 | {rate} | {_share(good >= 5, told)} | {_share(bad < 5, None)} |"
        yield f"| the same, threshold 10 | {rate} | {_share(good >= 10, None)} | {_share(bad < 10, None)} |"
    for rate, told_limits in published.ARGO.items():
        random = seeded(f"Argo {rate}")
        good = gates.failed_checks(rate, flat, 0.005, cells.RUNS, random)
        bad = gates.failed_checks(rate, flat, 0.01, cells.RUNS, random)
        for limit, told in zip((0, 2), told_limits, strict=True):
            yield (
                f"| 5 checks at 10 %, failureLimit {limit} | {rate} | {_share(good > limit, told)}"
                f" | {_share(bad <= limit, None)} |"
            )


def power_rows(results: Results) -> Iterator[str]:
    """Yield the mean requests to detection over Wald's bound."""
    for cell in (*cells.POWER, cells.REAL_TICKS):
        scenario, share = cell.scenario, cell.scenario.weights[0]
        for alpha in (0.01, 0.0025):
            bound = wald.canary_requests(alpha, scenario.base, scenario.ratio, share)
            plain, late = (results[cell.name][method, alpha] for method in cell.methods)
            planned = planning.median_requests(alpha, scenario.base, scenario.ratio)
            yield (
                f"| {scenario.base:.1%} | x{scenario.ratio:g} | {share:.0%} | {alpha:.2%}".replace("%", " %")
                + f" | {scenario.requests * share:,.0f} | {bound:,.0f} | {_factor(plain, bound)}"
                f" | {plain.median_requests() / bound:.2f} | {_factor(late, bound)}"
                f" | {planned / plain.median_requests():.2f} | {_claim(cell, plain, bound)} |"
            )


def certificate_rows(results: Results) -> Iterator[str]:
    """Yield the requests until an equal canary is proven safe."""
    for ((ratio, base), told), cell in zip(published.SAFE.items(), cells.SAFE, strict=True):
        fired = results[cell.name][Method.CERTIFICATE, 0.05]
        planned = planning.certificate_requests(0.05, base, ratio)
        yield (
            f"| {base:.1%} | x{ratio:g} | {fired.median_requests():,.0f} | {told} | {planned:,.0f} |".replace("%", " %")
        )


def answer_rows(answers: Mapping[Question, Fired], scores: Mapping[Scores, Fired]) -> Iterator[str]:
    """Yield the medians of tests on totals and scores."""
    for known in QUESTIONS:
        if not known.is_null:
            fired = answers[known]
            yield f"| {known.method} | {known.name} | {known.alpha:g} | {_trials(fired)} | {known.published} |"
    for graded in SCORES:
        if not graded.is_null:
            yield f"| graded scores, limit 0.9 | {graded.name} | {graded.alpha:g} | {_trials(scores[graded])} | - |"


def _claims(method: Method, cell: Cell) -> bool:
    return claims(method, cell.scenario.noise)


def _spent(method: Method) -> float:
    return 0.05 if method is Method.CERTIFICATE else 0.01


def _claim(cell: Cell, fired: Fired, bound: float) -> str:
    """Return whether the claim holds where it is made; within the simulation's error of 1.5 it is not shown."""
    if cell.scenario.ratio != 2 or cell.scenario.weights[0] > 0.1:
        return "not claimed"
    mean, error = _mean(fired)
    if mean > CLAIMED_FACTOR * bound:
        return "**missed**"
    return "holds" if mean + ALLOWED_DEVIATION * error <= CLAIMED_FACTOR * bound else "**not shown**"


def _factor(fired: Fired, bound: float) -> str:
    mean, error = _mean(fired)
    missed = "" if fired.count == fired.runs else f", {fired.runs - fired.count} never"
    return f"{mean / bound:.2f} ± {ALLOWED_DEVIATION * error / bound:.2f}{missed}"


def _mean(fired: Fired) -> tuple[float, float]:
    """Return the mean canary requests and its standard error; a run that never fired counts with all it had."""
    return float(fired.requests.mean()), float(fired.requests.std() / np.sqrt(fired.runs))


def _compared(fired: Fired, figure: str | None, count: int | None = None) -> str:
    """Return a share in percent with the published one behind it, and the deviation where it is too large."""
    events = fired.count if count is None else count
    text = f"{100 * events / fired.runs:.2f}"
    if figure is None:
        return text
    rounding = 0.5 * 10.0 ** -(len(figure.partition(".")[2]) + 2)
    off = deviation(events, fired.runs, float(figure) / 100, published.RUNS, rounding)
    return f"{text} ({figure})" + (f" **{off:+.0f} SE**" if abs(off) > ALLOWED_DEVIATION else "")


def _share(is_true: np.typing.NDArray[np.bool_], figure: str | None) -> str:
    tick = is_true.astype(np.int64)
    return _compared(Fired(tick, tick), figure)


def _percent(fired: Fired) -> str:
    return f"{100 * fired.count / fired.runs:.2f} %"


def _minutes(fired: Fired) -> str:
    return "-" if np.isinf(fired.median_tick()) else f"{fired.median_tick() / MINUTE:.2f}"


def _trials(fired: Fired) -> str:
    return "-" if np.isinf(fired.median_requests()) else f"{fired.median_requests():,.0f}"
