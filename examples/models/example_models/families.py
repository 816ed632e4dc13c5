"""The two families of models and what each file promises.

Apart from the training code, because the cache, the demo and the tests ask for names and promises
without loading the libraries that keep them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Family: TypeAlias = Literal["shapes", "digits"]
FAMILIES: tuple[Family, ...] = ("shapes", "digits")
# Told one line at a time how the work goes.
Report: TypeAlias = Callable[[str], None]
SEED = 2026


class NotAsPromisedError(Exception):
    """A built model is not what its name promises; the message says what to do."""


@dataclass(frozen=True)
class Band:
    """A metric's lowest and highest acceptable value on the evaluation set."""

    metric: str
    low: float
    high: float


BANDS: dict[str, Band] = {
    "shapes/v1": Band("map50", 0.70, 0.91),
    "shapes/v2": Band("map50", 0.92, 1.0),
    "shapes/v3-failing": Band("map50", 0.92, 1.0),
    "shapes/v3-slow": Band("map50", 0.92, 1.0),
    "shapes/v4": Band("map50", 0.0, 0.30),
    "digits/v1": Band("top1", 0.98, 1.0),
}
