"""Whether this process sees the cluster as it is: watches, full lists, and the CRD."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from visionmodel_operator.work.schedule import Key

MISSED_LISTS = 3
LEAST_LIST_AGE = 900.0
"""Seconds. The last full list is too old to trust the watches after so many that did not come, and never earlier."""


@dataclass
class Health:
    """What the probes ask.

    Attributes:
        monotonic: seconds of a clock that never goes back.
        resync_seconds: time between full lists.
        serves_models: the CRD is served.
        watching: kopf has started its watches.
        stopping: the process is on its way out.
    """

    monotonic: Callable[[], float]
    resync_seconds: float
    serves_models: bool = False
    watching: bool = False
    stopping: bool = False
    _listed_at: float | None = None
    _events: dict[str, float] = field(default_factory=dict)
    _versions: dict[Key, str] = field(default_factory=dict)
    _unseen: frozenset[tuple[Key, str]] = frozenset()
    _is_stale: bool = False

    def saw_event(self, resource: str) -> None:
        """A watch delivered something."""
        self._events[resource] = self.monotonic()

    def saw_model(self, key: Key, version: str | None) -> None:
        """The watch of VisionModels showed one in a version; None: deleted."""
        if version is None:
            self._versions.pop(key, None)
        else:
            self._versions[key] = version

    def saw_list(self, versions: Mapping[Key, str]) -> frozenset[Key]:
        """A full list was read; returns what the watch once showed and the list does not.

        A version that two lists in a row show and no event does means that the watch is dead: events lag by
        milliseconds, lists are minutes apart.
        """
        self._listed_at = self.monotonic()
        unseen = frozenset((key, version) for key, version in versions.items() if self._versions.get(key) != version)
        self._is_stale = bool(unseen & self._unseen)
        self._unseen = unseen
        gone = frozenset(self._versions.keys() - versions.keys())
        self._versions = {key: version for key, version in self._versions.items() if key in versions}
        return gone

    def event_ages(self) -> dict[str, float]:
        """Seconds since each watch last delivered something."""
        now = self.monotonic()
        return {resource: now - at for resource, at in self._events.items()}

    @property
    def list_age(self) -> float:
        """Seconds since the last full list, infinite before the first."""
        return float("inf") if self._listed_at is None else self.monotonic() - self._listed_at

    def troubles(self) -> list[str]:
        """Return why this process is not ready; empty when it is."""
        checks = (
            (self.stopping, "stopping"),
            (not self.serves_models, "the CRD visionmodels.visionmodel.dev is not served"),
            (not self.watching, "the watches have not started"),
            (self.list_age > max(LEAST_LIST_AGE, MISSED_LISTS * self.resync_seconds), "the last full list is too old"),
            (self._is_stale, "the watch of VisionModels misses events"),
        )
        return [trouble for is_wrong, trouble in checks if is_wrong]
