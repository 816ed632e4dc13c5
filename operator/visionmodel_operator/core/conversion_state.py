"""The states of a conversion: of one Job's step, and of the whole."""

from dataclasses import dataclass

from visionmodel_contract.report import ArtifactInfo, GateResult, ReportSummary
from visionmodel_operator.core.build_request import Build
from visionmodel_operator.core.snapshot import JobState


@dataclass(frozen=True)
class Ready:
    """The artifact exists and passed the gates that this spec asks for.

    Attributes:
        engines: of the artifact, in the order of the accelerators; none where the ONNX file itself is served.
    """

    key: str
    artifact: ArtifactInfo
    gates: tuple[GateResult, ...]
    summary: ReportSummary
    engines: tuple["Ready", ...] = ()


@dataclass(frozen=True)
class Failed:
    """Running the conversion again cannot help."""

    reason: str
    message: str
    exit_code: int | None
    gates: tuple[GateResult, ...] = ()


@dataclass(frozen=True)
class Reported:
    """A Job finished with something that must be recorded before it counts."""

    summary: ReportSummary
    key: str
    gate_key: str
    is_engine: bool = False


@dataclass(frozen=True)
class Outdated:
    """A Job finished and is recorded, but judged by gates that the spec no longer names."""

    job: JobState


@dataclass(frozen=True)
class Running:
    """A Job is at work, or waits for a node."""

    job: JobState


@dataclass(frozen=True)
class Missing:
    """Nothing is known and nothing runs."""


Step = Ready | Failed | Reported | Outdated | Running | Missing
"""Where one Job's part of a conversion stands."""


@dataclass(frozen=True)
class Building:
    """The ONNX artifact is there, and not every engine of it is.

    Attributes:
        builds: each engine that is not there yet, with where it stands.
        engines: keys of those that are there.
    """

    builds: tuple[tuple[Build, Running | Missing], ...]
    engines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Moved:
    """Engines are missing, and the artifact that they are built of lies in a store that the platform has left.

    Attributes:
        store: that store.
        job: prepares the artifact in the present store; None before it is there.
        source_digest: of what the artifact was made of.
        engines: keys of those that are there.
    """

    store: str
    job: JobState | None
    source_digest: str | None
    engines: tuple[str, ...] = ()


Conversion = Step | Building | Moved
