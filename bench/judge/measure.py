"""Runs the cells: in chunks with seeds of their own, so that neither their order nor the processors matter."""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Final, assert_never

import numpy as np

from bench.judge import gates, product, twins
from bench.judge.boundaries import first_true
from bench.judge.cells import ALPHAS, SEED, Cell, Method
from bench.judge.traffic import Arms, Counts, Flags, Floats, Traffic, simulated
from visionmodel_operator.core.sequential.logarithms import log_threshold

CHUNK: Final = 2_500
REPLAYED: Final = 2
"""Runs of each chunk that the product judges too."""

AGREED: Final = 1e-6
"""ln M of a twin and of the product differ by less; each rounds to 9 decimals at every tick."""

AT_THE_END: Final = 1.0
"""Stands in the place of alpha for the z-test looked at once, after the last tick."""

SLOWER_STILL: Final = (1.0, 0.2, 0.25)
"""Of the requests above one latency edge, those above the next: tails of 10 %, 2 % and 0.5 %."""


class TwinDiffers(Exception):
    """A twin gave another number than the product: nothing measured with it counts."""


@dataclass(frozen=True)
class Fired:
    """Per run: the number (from 1) of the tick that fired, 0 for none, and canary requests up to it or to the end."""

    tick: Counts
    requests: Counts

    @property
    def count(self) -> int:
        """Return in how many runs it fired."""
        return int((self.tick > 0).sum())

    @property
    def runs(self) -> int:
        """Return the number of runs."""
        return self.tick.size

    def count_by(self, tick: int) -> int:
        """Return in how many runs it fired in that tick (from 1) or before."""
        return int(((self.tick > 0) & (self.tick <= tick)).sum())

    def median_tick(self) -> float:
        """Return the median tick that fired; infinite where half of the runs or more never did."""
        return float(np.median(np.where(self.tick > 0, self.tick, np.inf)))

    def median_requests(self) -> float:
        """Return the median of the canary requests until it fired; infinite as the tick's."""
        return float(np.median(np.where(self.tick > 0, self.requests, np.inf)))


Found = Mapping[tuple[Method, float], Fired]


def measured(cells: Iterable[Cell], processes: int) -> dict[str, Found]:
    """Return what fired in each cell, by method and alpha."""
    tasks = [(cell, chunk) for cell in cells for chunk in range(-(-cell.runs // CHUNK))]
    parts: dict[str, list[Found]] = {}
    with get_context("fork").Pool(processes) as pool:
        for (cell, _), found in zip(tasks, pool.imap(_chunk, tasks), strict=True):
            parts.setdefault(cell.name, []).append(found)
    return {name: {key: _joined([part[key] for part in found]) for key in found[0]} for name, found in parts.items()}


def seeded(name: str, chunk: int = 0) -> np.random.Generator:
    """Return the generator of one chunk of what has this name."""
    return np.random.default_rng([SEED, zlib.crc32(name.encode()), chunk])


def _chunk(task: tuple[Cell, int]) -> Found:
    cell, chunk = task
    random = seeded(cell.name, chunk)
    runs = min(CHUNK, cell.runs - chunk * CHUNK)
    traffic = simulated(cell.scenario, runs, random)
    seen = np.cumsum(traffic.canary_requests, axis=1)
    found: dict[tuple[Method, float], Fired] = {}
    for method in cell.methods:
        if method is Method.Z_TEST:
            fired = gates.z_test(traffic) > gates.Z_5_PERCENT
            found[method, 0.05] = _fired(fired, seen)
            found[method, AT_THE_END] = _fired(fired[:, -1:], seen[:, -1:])
            continue
        evidence = _evidence(method, cell, traffic, random, chunk * CHUNK)
        for alpha in ALPHAS:
            found[method, alpha] = _fired(evidence >= log_threshold(alpha), seen)
    return found


def _evidence(method: Method, cell: Cell, traffic: Traffic, random: np.random.Generator, first_run: int) -> Floats:
    """Return ln M, [runs, ticks], after a look at whether the product says the same."""
    arms, planned = traffic.against_stable, len(cell.scenario.weights)
    runs = range(min(REPLAYED, traffic.canary_requests.shape[0]))
    match method:
        case Method.COUNTS:
            return _same(method, twins.plain(arms), [product.plain(arms, run) for run in runs])
        case Method.LATE:
            own = [product.with_late_faults(arms, run, planned) for run in runs]
            return _same(method, twins.with_late_faults(arms, planned), own)
        case Method.TEMPERED:
            own = [product.tempered(arms, traffic.stable_groups, run) for run in runs]
            return _same(method, twins.tempered(traffic), own)
        case Method.SIGN:
            differences, counted = twins.differences(traffic, random)
            own = [product.sign_of(differences[run].tolist(), counted[run].tolist()) for run in runs]
            return _same(method, twins.sign_of(differences, counted), own)
        case Method.SIGN_ITSELF:
            return product.sign_itself(traffic, first_run)
        case Method.CERTIFICATE:
            own = [product.certificate(arms, run, cell.max_ratio) for run in runs]
            return _same(method, twins.certificate(arms, cell.max_ratio), own)
        case Method.LATENCY:
            edges = _edges(arms, random)
            return _same(method, twins.latency(edges), [product.latency(edges, run) for run in runs])
        case Method.Z_TEST:
            raise ValueError("the z-test has no evidence")
    assert_never(method)


def _edges(arms: Arms, random: np.random.Generator) -> list[Arms]:
    """Return the slow requests at each edge, nested, of traffic whose errors are those above the first."""
    requests, slow, other_requests, other_slow = arms
    edges = []
    for share in SLOWER_STILL:
        slow, other_slow = random.binomial(slow, share), random.binomial(other_slow, share)
        edges.append((requests, slow, other_requests, other_slow))
    return edges


def _same(method: Method, twin: Floats, own: list[list[float]]) -> Floats:
    gap = float(np.abs(twin[: len(own)] - np.array(own)).max())
    if gap >= AGREED:
        raise TwinDiffers(f"{method}: the twin's ln M is {gap:.3g} away from the product's")
    return twin


def _fired(fired: Flags, seen: Counts) -> Fired:
    tick = first_true(fired)
    return Fired(tick, np.take_along_axis(seen, (tick - 1)[:, None], axis=1)[:, 0])


def _joined(parts: list[Fired]) -> Fired:
    return Fired(np.concatenate([part.tick for part in parts]), np.concatenate([part.requests for part in parts]))
