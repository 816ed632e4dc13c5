"""The operator's own metrics: names and labels in one place."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

PER_OBJECT = ("namespace", "name")
PASS_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
CONVERSION_BUCKETS = (5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)


class Telemetry:
    """All metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.passes = Counter("visionmodel_reconcile", "Passes over a VisionModel.", registry=registry)
        self.errors = Counter(
            "visionmodel_reconcile_errors", "Passes that ended with an error.", ("kind",), registry=registry
        )
        self.duration = Histogram(
            "visionmodel_reconcile_duration_seconds", "Duration of a pass.", buckets=PASS_BUCKETS, registry=registry
        )
        self.queue_depth = Gauge("visionmodel_queue_depth", "Objects that wait for a worker.", registry=registry)
        self.queue_age = Gauge("visionmodel_queue_age_seconds", "Wait of the oldest of them.", registry=registry)
        self.event_age = Gauge(
            "visionmodel_watch_last_event_age_seconds",
            "Time since a watch last delivered something.",
            ("resource",),
            registry=registry,
        )
        self.list_age = Gauge("visionmodel_resync_age_seconds", "Time since the last full list.", registry=registry)
        self.ghosts = Counter("visionmodel_resync_ghosts", "Deletions found only by a full list.", registry=registry)
        self.leader = Gauge("visionmodel_leader", "1 while this process holds the lease.", registry=registry)
        self.conversion_duration = Histogram(
            "visionmodel_conversion_duration_seconds",
            "Time from the decision to convert to the artifact.",
            buckets=CONVERSION_BUCKETS,
            registry=registry,
        )
        self.cache_hits = Counter(
            "visionmodel_artifact_cache_hits", "Revisions whose artifact existed already.", registry=registry
        )
        self.cache_misses = Counter(
            "visionmodel_artifact_cache_misses", "Revisions that needed a conversion.", registry=registry
        )
        self.phase = Gauge(
            "visionmodel_rollout_phase", "1 for the phase it is in.", (*PER_OBJECT, "phase"), registry=registry
        )
        self.step = Gauge("visionmodel_rollout_step", "Step, counted from 1; 0: none.", PER_OBJECT, registry=registry)
        self.weight = Gauge("visionmodel_rollout_weight", "Canary's share in percent.", PER_OBJECT, registry=registry)
        self.evidence = Gauge(
            "visionmodel_rollout_evidence",
            "Natural logarithm of the evidence that the canary fails more often than stable; 0: none yet.",
            PER_OBJECT,
            registry=registry,
        )
        self.rollouts = Counter(
            "visionmodel_rollouts", "Rollouts that ended.", (*PER_OBJECT, "outcome"), registry=registry
        )
        self._of_objects = (self.phase, self.step, self.weight, self.evidence, self.rollouts)

    def forget_object(self, namespace: str, name: str) -> None:
        """Take away the series of an object that is gone."""
        for metric in self._of_objects:
            metric.remove_by_labels({"namespace": namespace, "name": name})

    def forget_objects(self) -> None:
        """Take away the series of every object: what another process carries on is not for this one to show."""
        for metric in self._of_objects:
            metric.clear()
