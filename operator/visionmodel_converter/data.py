"""The datasets that a request names: their digests, and their samples, fit to be used.

What has no digest in the request is read before anything is looked up, because the keys of artifact and verdict are
taken of digests; what has one is read where its samples are needed, and must be that content. Called by
`prepare` and `build`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from visionmodel_contract.conversion import ConversionRequest, ImageTask
from visionmodel_contract.report import TensorSpec
from visionmodel_converter.environment import Environment
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.data_checks import CheckedSamples, Role, check_samples
from visionmodel_converter.gates.dataset import load_samples
from visionmodel_converter.gates.tasks import class_names
from visionmodel_converter.journal import Journal
from visionmodel_converter.shown import display_uri
from visionmodel_converter.sources.fetch import Fetched, Retry, fetch
from visionmodel_converter.sources.tree import fetch_tree
from visionmodel_converter.stages import Stage
from visionmodel_converter.storage import DATA_COPIES, Storage

MAX_IMAGES: Final = 100_000


@dataclass(frozen=True, slots=True)
class DataSource:
    """One dataset of a request: where it lies, the content it must have if that is given, how many samples to use."""

    uri: str
    digest: str | None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Data:
    """One dataset, fit to be used, and the file or folder that it came in."""

    checked: CheckedSamples
    file: Fetched


@dataclass(frozen=True, slots=True)
class DataReader:
    """Reads a Job's datasets into its scratch folder."""

    work: Path
    environment: Environment
    storage: Storage
    retry: Retry

    def fetch_unpinned(self, request: ConversionRequest, journal: Journal) -> dict[Role, Fetched]:
        """Return what is named without a digest, as it is now. Raises ConversionFailure as `fetch` does."""
        files: dict[Role, Fetched] = {}
        for role, source in data_sources(request).items():
            if source.digest is None:
                journal.begin(Stage.FETCH, f"reading {display_uri(source.uri)}")
                files[role] = self._fetch(role, source)
        return files

    def open(
        self,
        request: ConversionRequest,
        inputs: tuple[TensorSpec, ...],
        files: Mapping[Role, Fetched],
    ) -> dict[Role, Data]:
        """Return every dataset of a request, checked; `files` are those that are here already.

        Raises ConversionFailure as `fetch` and `load_samples` do.
        """
        return {
            role: self.read(role, source, inputs, task=request.task, file=files.get(role))
            for role, source in data_sources(request).items()
        }

    def read(
        self,
        role: Role,
        source: DataSource,
        inputs: tuple[TensorSpec, ...],
        *,
        task: ImageTask | None,
        file: Fetched | None = None,
    ) -> Data:
        """Return one dataset, checked; `file` is it where it is here already. Raises as `open` does."""
        file = file or self._fetch(role, source)
        most = self.environment.max_dataset_bytes
        with self.storage.limiting(most, copies=1, what=file.uri) as unpacked_bytes:
            samples = load_samples(
                file.path,
                inputs,
                task=task,
                shown=file.uri,
                max_bytes=most,
                max_unpacked_bytes=unpacked_bytes,
                limit=source.limit,
            )
        return Data(check_samples(samples, role=role, shown=file.uri, names=class_names(task)), file)

    def _fetch(self, role: Role, source: DataSource) -> Fetched:
        most = self.environment.max_dataset_bytes
        with self.storage.limiting(most, copies=DATA_COPIES, what=display_uri(source.uri)) as max_bytes:
            return self._fetched(role, source, max_bytes)

    def _fetched(self, role: Role, source: DataSource, limit_bytes: int) -> Fetched:
        """Fetch a file, or below a URI that ends in a slash a folder of images.

        Data that is too large, or not there, says nothing against the model: its failure is none of the model's.
        """
        target = self.work / role.value
        try:
            if not display_uri(source.uri).endswith("/"):
                return fetch(
                    source.uri,
                    target,
                    environment=self.environment,
                    max_bytes=limit_bytes,
                    expected_digest=source.digest,
                    retry=self.retry,
                )
            tree = fetch_tree(
                source.uri,
                target,
                environment=self.environment,
                max_bytes=limit_bytes,
                max_files=MAX_IMAGES,
                expected_digest=source.digest,
                retry=self.retry,
            )
        except ConversionFailure as failure:
            match failure.reason:
                case Reason.SOURCE_TOO_LARGE:
                    words = f"{failure.message}; or use fewer samples"
                    raise ConversionFailure(Reason.DATASET_INVALID, words) from failure
                case Reason.EMPTY_FOLDER:
                    words = f"{role} data: {failure.message}"
                    raise ConversionFailure(Reason.NO_SAMPLES, words) from failure
            raise
        return Fetched(tree.path, tree.digest, tree.size_bytes, tree.uri)


def data_sources(request: ConversionRequest) -> dict[Role, DataSource]:
    """Return the datasets that a request names."""
    parity, calibration = request.gates.parity, request.options.calibration
    found: dict[Role, DataSource] = {}
    if parity.dataset_uri is not None:
        found[Role.EVALUATION] = DataSource(parity.dataset_uri, parity.dataset_digest)
    if calibration is not None:
        found[Role.CALIBRATION] = DataSource(calibration.dataset_uri, calibration.digest, calibration.samples)
    return found


def with_digests(request: ConversionRequest, files: Mapping[Role, Fetched]) -> ConversionRequest:
    """Return the request with the digests of what was read: what it asks for, by content alone."""
    options, gates = request.options, request.gates
    if Role.CALIBRATION in files and options.calibration is not None:
        pinned = options.calibration.model_copy(update={"digest": files[Role.CALIBRATION].digest})
        options = options.model_copy(update={"calibration": pinned})
    if Role.EVALUATION in files:
        parity = gates.parity.model_copy(update={"dataset_digest": files[Role.EVALUATION].digest})
        gates = gates.model_copy(update={"parity": parity})
    return request.model_copy(update={"options": options, "gates": gates})
