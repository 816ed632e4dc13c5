"""Measuring in chunks, and what the document says of it."""

from dataclasses import replace

import numpy as np
import pytest
from bench.judge import measure, tables
from bench.judge.cells import ALL, IDENTICAL, OWN_NULL, Method, claims
from bench.judge.document import summary
from bench.judge.measure import AT_THE_END, CHUNK, Fired, measured
from bench.judge.tables import Null
from bench.judge.traffic import Noise, Scenario


def fired(*ticks: int) -> Fired:
    tick = np.array(ticks)
    return Fired(tick, tick * 10)


def test_names_and_so_seeds_are_unique() -> None:
    assert len({cell.name for cell in ALL}) == len(ALL)


def test_medians_count_runs_that_never_fired_as_infinite() -> None:
    assert fired(4, 0, 2).median_tick() == 4
    assert fired(4, 0, 2).median_requests() == 40
    assert fired(0, 0, 2).median_tick() == np.inf
    assert (fired(4, 0, 2).count, fired(4, 0, 2).count_by(3)) == (2, 1)


def test_every_run_is_there_once_and_the_result_is_the_same_again() -> None:
    cell = replace(IDENTICAL[0], scenario=Scenario(200, (0.5,) * 4, 0.05, 3.0), runs=CHUNK + 10)
    first, again = measured([cell], 1)[cell.name], measured([cell], 2)[cell.name]
    assert {known.runs for known in first.values()} == {CHUNK + 10}
    assert all(np.array_equal(first[key].tick, again[key].tick) for key in first)
    assert (Method.Z_TEST, AT_THE_END) in first
    assert first[Method.COUNTS, 0.05].count >= first[Method.COUNTS, 0.0025].count > 0


def test_requests_are_those_up_to_the_tick_that_fired() -> None:
    found = measure._fired(np.array([[False, True], [False, False]]), np.array([[3, 7], [4, 9]]))
    assert (found.tick.tolist(), found.requests.tolist()) == ([2, 0], [7, 9])


@pytest.mark.parametrize(
    ("method", "noise", "expected"),
    [
        (Method.COUNTS, Noise(swing=0.8, shared_sd=1), True),
        (Method.COUNTS, Noise(own_cv=0.25), False),
        (Method.TEMPERED, Noise(own_cv=0.25), False),
        (Method.SIGN, Noise(own_cv=1, shared_sd=1), True),
        (Method.SIGN, Noise(own_cv=0.5, own_memory=0.9), False),
    ],
)
def test_claims(method: Method, noise: Noise, expected: bool) -> None:
    assert claims(method, noise) is expected


def test_a_claim_that_is_not_shown_is_told() -> None:
    good = Null("counts", "quiet", fired(*[0] * 2000), 0.01, True)
    bad = Null("sign", "own noise", fired(*[1] * 30, *[0] * 970), 0.01, True)
    free = Null("tempered", "own noise", fired(*[1] * 30, *[0] * 970), 0.01, False)
    assert summary([good, bad, free]) == "1 of 2 claims hold. Not shown: sign (own noise)."
    rows = list(tables.null_rows([good, bad, free]))
    verdicts = [row.split(" | ")[-1].removesuffix(" |") for row in rows]
    assert verdicts == ["holds", "**not shown**", "not claimed, above"]


def test_own_noise_is_judged_by_the_product_alone_too() -> None:
    assert [cell.name for cell in OWN_NULL if Method.SIGN_ITSELF in cell.methods] == ["own noise CV 0.5"]
