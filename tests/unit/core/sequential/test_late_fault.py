"""The mixture over starting times: its vector, its mean under the null, and what it is for."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.core.sequential.enumeration import binomial
from visionmodel_operator.core.sequential import late_fault, ratio
from visionmodel_operator.core.sequential.logarithms import log_threshold

TICKS = ((150, 3, 1350, 7), (150, 5, 1350, 6), (375, 9, 1125, 5))


def both_after(
    ticks: list[tuple[int, int, int, int]], planned: int
) -> tuple[ratio.RatioEvidence, late_fault.LateFaultEvidence]:
    plain, late = ratio.no_evidence(), late_fault.no_evidence(planned)
    for tick in ticks:
        plain, late = ratio.update(plain, *tick), late_fault.update(late, *tick)
    return plain, late


def test_design_vector() -> None:
    assert round(late_fault.log_average(*both_after(list(TICKS), 8)), 6) == 8.815889


def test_no_evidence_before_the_first_tick() -> None:
    assert late_fault.log_evidence(late_fault.no_evidence(8)) == 0


def test_a_tick_without_errors_still_passes_a_starting_time() -> None:
    late = late_fault.update(late_fault.no_evidence(3), 10, 0, 90, 0)
    assert late.ticks == 1
    assert late_fault.log_evidence(late) == pytest.approx(0)


@pytest.mark.parametrize("planned", [1, 2, 3])
def test_mean_is_at_most_one_after_two_ticks(planned: int) -> None:
    first, second = (3, 6, 0.3), (4, 4, 0.1)
    mean = 0.0
    for (a, pa), (b, pb), (c, pc), (d, pd) in product(
        binomial(first[0], first[2]), binomial(first[1], first[2]),
        binomial(second[0], second[2]), binomial(second[1], second[2]),
    ):  # fmt: skip
        _, late = both_after([(first[0], a, first[1], b), (second[0], c, second[1], d)], planned)
        mean += pa * pb * pc * pd * math.exp(late_fault.log_evidence(late))
    assert mean <= 1 + 1e-8


def ticks_to_alarm(log_evidence: Callable[[int], float]) -> int:
    return next(ticks for ticks in range(1, 300) if log_evidence(ticks) >= log_threshold(0.01))


def test_a_fault_in_the_middle_is_found_much_sooner_than_by_plain_counts() -> None:
    healthy, faulty = [(150, 2, 1350, 18)] * 180, (150, 5, 1350, 18)
    plain, late = both_after(healthy, 240)
    plains, lates = [plain], [late]
    for _ in range(100):
        plains.append(ratio.update(plains[-1], *faulty))
        lates.append(late_fault.update(lates[-1], *faulty))
    slow = ticks_to_alarm(lambda ticks: ratio.log_evidence(plains[ticks]))
    fast = ticks_to_alarm(lambda ticks: late_fault.log_average(plains[ticks], lates[ticks]))
    assert fast < slow / 2


def test_past_the_plan_no_bet_starts() -> None:
    _, within = both_after([TICKS[0]], 1)
    beyond = late_fault.update(within, *TICKS[1])
    plain = ratio.log_evidence(both_after(list(TICKS[:2]), 1)[0])
    assert late_fault.log_evidence(beyond) == pytest.approx(plain, abs=1e-6)


@given(st.lists(st.sampled_from(TICKS), max_size=5), st.integers(1, 4))
def test_state_survives_json(ticks: list[tuple[int, int, int, int]], planned: int) -> None:
    _, late = both_after(ticks, planned)
    text = json.loads(json.dumps(asdict(late)))
    assert late_fault.LateFaultEvidence(**text | {"log_sums": tuple(text["log_sums"])}) == late


NONSENSE: dict[str, Callable[[], object]] = {
    "no tick planned": lambda: late_fault.no_evidence(0),
    "sums before the first tick": lambda: late_fault.LateFaultEvidence(3, 0, (0.0,) * 13),
    "no sums after it": lambda: late_fault.LateFaultEvidence(3, 1),
    "exponent 2": lambda: late_fault.update(late_fault.no_evidence(3), 1, 0, 1, 0, exponent=2.0),
    "more errors than requests": lambda: late_fault.update(late_fault.no_evidence(3), 1, 2, 1, 0),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_refused(case: str) -> None:
    with pytest.raises(ValueError, match=r"planned|expected|exponent|impossible"):
        NONSENSE[case]()
