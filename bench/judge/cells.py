"""What is simulated: every cell with its seed, and which method claims its bound for which traffic."""

from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import product
from typing import Final

from bench.judge import published, wald
from bench.judge.traffic import MINUTE, Noise, Scenario, steps

SEED: Final = 20261125
"""Of everything drawn; fixed before the first run. Each cell adds its name, each chunk of runs its number."""

RUNS: Final = 20_000
WALD_RUNS: Final = 5_000
HALF_HOUR: Final = 30 * MINUTE
LADDER: Final = (0.05, 0.1, 0.25, 0.5)
ALPHAS: Final = (0.05, 0.01, 0.0025)


class Method(StrEnum):
    """A column of the tables."""

    Z_TEST = "z-test"
    COUNTS = "counts"
    LATE = "counts with late-fault mixture"
    TEMPERED = "tempered"
    SIGN = "sign"
    SIGN_ITSELF = "sign, its own thinning"
    LATENCY = "latency, 3 edges"
    CERTIFICATE = "certificate"


@dataclass(frozen=True)
class Cell:
    """One kind of rollout, judged by several methods; `max_ratio` is what the certificate is to exclude."""

    name: str
    scenario: Scenario
    methods: tuple[Method, ...]
    runs: int = RUNS
    max_ratio: float = 2.0


def claims(method: Method, noise: Noise) -> bool:
    """Return whether the method states its bound under this noise.

    Sign betting asks that canary and baseline are exchangeable within the tick given the past; the others ask that a
    group's requests fail independently within it.
    """
    return noise.own_memory == 0 if method in (Method.SIGN, Method.SIGN_ITSELF) else noise.own_cv == 0


SHARED: Final = Noise(swing=0.8, shared_sd=1.0)
JUDGED: Final = (Method.COUNTS, Method.LATE, Method.TEMPERED, Method.SIGN)
_BUSY: Final = Scenario(3000, steps(0.1, ticks=HALF_HOUR), 0.01)
_STEPPED: Final = Scenario(1500, steps(*LADDER, ticks=HALF_HOUR // 4), 0.01)

IDENTICAL: Final = (
    Cell(
        "base 0.1 %, 10 % canary",
        Scenario(1500, steps(0.1, ticks=HALF_HOUR), 0.001),
        (Method.Z_TEST, *JUDGED),
    ),
    Cell("base 0.1 %, steps 5/10/25/50", replace(_STEPPED, base=0.001), (Method.Z_TEST, *JUDGED)),
    Cell("base 1 %, steps", _STEPPED, (Method.Z_TEST, *JUDGED)),
    Cell("base 1 %, steps, swing and shared noise", replace(_STEPPED, noise=SHARED), (Method.Z_TEST, *JUDGED)),
)
OWN_CVS: Final = (0.0, 0.25, 0.5, 1.0)
OWN_NULL: Final = tuple(
    Cell(
        f"own noise CV {cv:g}",
        replace(_BUSY, noise=Noise(own_cv=cv)),
        (*JUDGED, Method.SIGN_ITSELF) if cv == 0.5 else JUDGED,
    )
    for cv in OWN_CVS
)
OWN_TWICE: Final = tuple(
    replace(cell, name=f"{cell.name}, x2", scenario=replace(cell.scenario, ratio=2.0), methods=JUDGED, runs=WALD_RUNS)
    for cell in OWN_NULL
)
OTHER_NULL: Final = (
    Cell("2 requests/s, base 0.5 %", Scenario(30, steps(*LADDER, ticks=HALF_HOUR // 4), 0.005), JUDGED),
    Cell("20 requests/s, base 5 %", Scenario(300, steps(*LADDER, ticks=HALF_HOUR // 4), 0.05), JUDGED),
    Cell("swing, shared noise, own noise CV 0.5", replace(_BUSY, noise=replace(SHARED, own_cv=0.5)), JUDGED),
    Cell(
        "own noise CV 0.5 that lasts 10 ticks in the mean",
        replace(_BUSY, noise=Noise(own_cv=0.5, own_memory=0.9)),
        JUDGED,
    ),
    Cell("tails 10 %, 2 %, 0.5 %", replace(_STEPPED, base=0.1), (Method.LATENCY,)),
    Cell(
        "tails 10 %, 2 %, 0.5 %, swing and shared noise",
        replace(_STEPPED, base=0.1, noise=Noise(swing=0.8, shared_sd=0.3)),
        (Method.LATENCY,),
    ),
    Cell(
        "tails 10 %, 2 %, 0.5 %, own noise CV 0.5",
        replace(_STEPPED, base=0.1, noise=Noise(own_cv=0.5)),
        (Method.LATENCY,),
    ),
)
UNSAFE: Final = (
    *(
        Cell(
            f"truly x{ratio:g}, base {100 * base:g} %",
            replace(_STEPPED, base=base, ratio=ratio),
            (Method.CERTIFICATE,),
            max_ratio=ratio,
        )
        for ratio, base in product((2.0, 1.5, 1.25), (0.001, 0.01))
    ),
    Cell(
        "truly x2, base 1 %, own noise CV 0.5",
        replace(_STEPPED, ratio=2.0, noise=Noise(own_cv=0.5)),
        (Method.CERTIFICATE,),
    ),
)
SAFE: Final = tuple(
    Cell(
        f"proof of less than x{ratio:g}, base {base}",
        Scenario(per_tick / 0.1, steps(0.1, ticks=200), base),
        (Method.CERTIFICATE,),
        WALD_RUNS,
        ratio,
    )
    for (ratio, base), per_tick in zip(published.SAFE, (50, 500, 150, 500), strict=True)
)
LATE_ONSETS: Final = (0, 45)
LATE: Final = tuple(
    Cell(
        f"x2 from minute {minute}",
        Scenario(3000, steps(0.1, ticks=90 * MINUTE), 0.01, 2.0, minute * MINUTE),
        (Method.COUNTS, Method.LATE),
        WALD_RUNS,
    )
    for minute in LATE_ONSETS
)
DETECTION: Final = tuple(
    Cell(
        f"{rate} requests/s, base {base}, x{ratio:g}",
        Scenario(15 * rate, steps(*LADDER, ticks=5 * MINUTE), base, ratio),
        (Method.COUNTS, Method.LATE),
    )
    for rate, base, ratio in (
        (20, 0.005, 1.5), (20, 0.005, 2.0), (20, 0.005, 3.0), (20, 0.005, 5.0),
        (200, 0.001, 2.0), (200, 0.001, 3.0), (200, 0.005, 1.5), (200, 0.005, 2.0),
    )
)  # fmt: skip
BOUND_TICKS: Final = 25
"""Ticks in which Wald's bound passes, so that the size of a tick hardly matters."""

POWER: Final = tuple(
    Cell(
        f"bound: base {base}, x{ratio:g}, share {share}",
        Scenario(
            max(1.0, wald.canary_requests(0.01, base, ratio, share) / BOUND_TICKS) / share,
            steps(share, ticks=16 * BOUND_TICKS),
            base,
            ratio,
        ),
        (Method.COUNTS, Method.LATE),
        WALD_RUNS,
    )
    for ratio, base, share in (
        *product((2.0,), (0.001, 0.01, 0.05), (0.01, 0.1, 0.5)),
        *product((1.5, 3.0, 5.0), (0.01,), (0.1,)),
    )
)
REAL_TICKS: Final = Cell(
    "bound: 100 requests/s, ticks of 15 s, base 1 %, x2, share 0.1",
    Scenario(1500, steps(0.1, ticks=16 * BOUND_TICKS), 0.01, 2.0),
    (Method.COUNTS, Method.LATE),
    WALD_RUNS,
)
ALL: Final = (*IDENTICAL, *OWN_NULL, *OWN_TWICE, *OTHER_NULL, *UNSAFE, *SAFE, *LATE, *DETECTION, *POWER, REAL_TICKS)
