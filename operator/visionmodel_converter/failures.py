"""Every way a conversion can end without an artifact, as values.

`__main__` alone catches a ConversionFailure; everything below it raises one with a sentence that names the
file, node, tensor or array and says what to do. A failure that is not in this list is a bug of ours.
"""

from enum import StrEnum
from typing import Final

from pydantic import ValidationError

from visionmodel_contract.exits import ExitCode
from visionmodel_contract.report import GateResult


class Reason(StrEnum):
    """CamelCase reasons for conditions and events; each belongs to one exit code."""

    INTERNAL_ERROR = "InternalError"
    BAD_REQUEST = "BadRequest"
    UNSUPPORTED_SOURCE = "UnsupportedSource"
    UNKNOWN_METRIC = "UnknownMetric"
    METRIC_NOT_APPLICABLE = "MetricNotApplicable"
    SOURCE_UNAVAILABLE = "SourceUnavailable"
    SOURCE_NOT_FOUND = "SourceNotFound"
    SOURCE_FORBIDDEN = "SourceForbidden"
    SOURCE_THROTTLED = "SourceThrottled"
    SOURCE_CHANGED = "SourceChanged"
    SOURCE_TOO_LARGE = "SourceTooLarge"
    AMBIGUOUS_SOURCE = "AmbiguousSource"
    UNSAFE_ARCHIVE = "UnsafeArchive"
    ENCRYPTED_ARCHIVE = "EncryptedArchive"
    DAMAGED_ARCHIVE = "DamagedArchive"
    ARCHIVE_TOO_LARGE = "ArchiveTooLarge"
    DIGEST_MISMATCH = "DigestMismatch"
    UNSAFE_PATH = "UnsafePath"
    EMPTY_SOURCE = "EmptySource"
    EMPTY_FOLDER = "EmptyFolder"
    NOT_ONNX = "NotOnnx"
    INVALID_GRAPH = "InvalidGraph"
    EXTERNAL_DATA = "ExternalData"
    EXTERNAL_DATA_SHORT = "ExternalDataShort"
    TENSOR_SIZE_MISMATCH = "TensorSizeMismatch"
    CYCLIC_GRAPH = "CyclicGraph"
    NON_FINITE_WEIGHTS = "NonFiniteWeights"
    UNSUPPORTED_OPSET = "UnsupportedOpset"
    UNSUPPORTED_IR_VERSION = "UnsupportedIRVersion"
    CUSTOM_OPERATOR = "CustomOperator"
    STATIC_BATCH = "StaticBatch"
    UNSUPPORTED_TENSOR = "UnsupportedTensor"
    ZERO_SIZE_DIMENSION = "ZeroSizeDimension"
    RUNTIME_REFUSES = "RuntimeRefuses"
    UNSUPPORTED_QUANTIZATION = "UnsupportedQuantization"
    PRECISION_IMPOSSIBLE = "PrecisionImpossible"
    DATASET_INVALID = "DatasetInvalid"
    NO_SAMPLES = "NoSamples"
    UNREADABLE_IMAGES = "UnreadableImages"
    UNLABELLED_IMAGES = "UnlabelledImages"
    DATA_OVERLAP = "DataOverlap"
    CALIBRATION_MISSING = "CalibrationMissing"
    CALIBRATION_INVALID = "CalibrationInvalid"
    PARITY_FAILED = "ParityFailed"
    GATE_FAILED = "GateFailed"
    EDGE_CASE_FAILED = "EdgeCaseFailed"
    SPEED_GATE_FAILED = "SpeedGateFailed"
    MEMORY_NOT_MEASURED = "MemoryNotMeasured"
    PRECISION_NOT_REACHED = "PrecisionNotReached"
    BACKEND_NOT_INSTALLED = "BackendNotInstalled"
    PROVIDER_NOT_USED = "ProviderNotUsed"
    ENGINE_REFUSED = "EngineRefused"
    TENSORRT_MISSING = "TensorRTMissing"
    NO_TENSORRT_DEVICE = "NoTensorRTDevice"
    DEVICE_FAILED = "DeviceFailed"
    FORMAT_MISMATCH = "FormatMismatch"
    TRUST_NEEDED = "TrustNeeded"
    UNSAFE_PICKLE = "UnsafePickle"
    NO_GRAPH = "NoGraph"
    INPUT_SHAPES_NEEDED = "InputShapesNeeded"
    LAMBDA_LAYER = "LambdaLayer"
    PYTHON_FUNCTION = "PythonFunction"
    UNSUPPORTED_PROGRAM = "UnsupportedProgram"
    LOADER_NOT_INSTALLED = "LoaderNotInstalled"
    LOADER_REFUSES = "LoaderRefuses"
    EXPORT_FAILED = "ExportFailed"
    LOADER_DISAGREES = "LoaderDisagrees"
    LOADER_TRIED_NETWORK = "LoaderTriedNetwork"
    LOADER_LIMIT = "LoaderLimit"
    LOADER_CRASHED = "LoaderCrashed"
    LOADER_RESULT_INVALID = "LoaderResultInvalid"
    SANDBOX_UNAVAILABLE = "SandboxUnavailable"
    DISK_FULL = "DiskFull"
    STORAGE_EXCEEDED = "StorageExceeded"
    PROCESS_KILLED = "ProcessKilled"
    QUANTIZER_NOT_INSTALLED = "QuantizerNotInstalled"
    EXPORTER_NOT_INSTALLED = "ExporterNotInstalled"
    EDGE_EXPORT_FAILED = "EdgeExportFailed"
    EDGE_EXPORT_DISAGREES = "EdgeExportDisagrees"
    REGISTRY_UNAVAILABLE = "RegistryUnavailable"
    REGISTRY_FORBIDDEN = "RegistryForbidden"
    STORE_UNAVAILABLE = "StoreUnavailable"
    STORE_FORBIDDEN = "StoreForbidden"
    DELETION_REFUSED = "DeletionRefused"
    ARTIFACT_CORRUPT = "ArtifactCorrupt"
    ARTIFACT_MISSING = "ArtifactMissing"


EXIT_CODES: Final[dict[Reason, ExitCode]] = {
    Reason.INTERNAL_ERROR: ExitCode.INTERNAL,
    Reason.BAD_REQUEST: ExitCode.BAD_REQUEST,
    Reason.UNSUPPORTED_SOURCE: ExitCode.BAD_REQUEST,
    Reason.UNKNOWN_METRIC: ExitCode.BAD_REQUEST,
    Reason.METRIC_NOT_APPLICABLE: ExitCode.BAD_REQUEST,
    Reason.SOURCE_UNAVAILABLE: ExitCode.SOURCE_UNAVAILABLE,
    Reason.SOURCE_NOT_FOUND: ExitCode.SOURCE_NOT_FOUND,
    Reason.SOURCE_FORBIDDEN: ExitCode.SOURCE_FORBIDDEN,
    Reason.SOURCE_THROTTLED: ExitCode.SOURCE_UNAVAILABLE,
    Reason.SOURCE_CHANGED: ExitCode.SOURCE_UNAVAILABLE,
    Reason.SOURCE_TOO_LARGE: ExitCode.INVALID_MODEL,
    Reason.AMBIGUOUS_SOURCE: ExitCode.BAD_REQUEST,
    Reason.UNSAFE_ARCHIVE: ExitCode.INVALID_MODEL,
    Reason.ENCRYPTED_ARCHIVE: ExitCode.INVALID_MODEL,
    Reason.DAMAGED_ARCHIVE: ExitCode.INVALID_MODEL,
    Reason.ARCHIVE_TOO_LARGE: ExitCode.INVALID_MODEL,
    Reason.DIGEST_MISMATCH: ExitCode.DIGEST_MISMATCH,
    Reason.UNSAFE_PATH: ExitCode.BAD_REQUEST,
    Reason.EMPTY_SOURCE: ExitCode.INVALID_MODEL,
    Reason.EMPTY_FOLDER: ExitCode.SOURCE_NOT_FOUND,
    Reason.NOT_ONNX: ExitCode.INVALID_MODEL,
    Reason.INVALID_GRAPH: ExitCode.INVALID_MODEL,
    Reason.EXTERNAL_DATA: ExitCode.INVALID_MODEL,
    Reason.EXTERNAL_DATA_SHORT: ExitCode.INVALID_MODEL,
    Reason.TENSOR_SIZE_MISMATCH: ExitCode.INVALID_MODEL,
    Reason.CYCLIC_GRAPH: ExitCode.INVALID_MODEL,
    Reason.NON_FINITE_WEIGHTS: ExitCode.INVALID_MODEL,
    Reason.UNSUPPORTED_OPSET: ExitCode.UNSUPPORTED_MODEL,
    Reason.UNSUPPORTED_IR_VERSION: ExitCode.UNSUPPORTED_MODEL,
    Reason.CUSTOM_OPERATOR: ExitCode.UNSUPPORTED_MODEL,
    Reason.STATIC_BATCH: ExitCode.UNSUPPORTED_MODEL,
    Reason.UNSUPPORTED_TENSOR: ExitCode.UNSUPPORTED_MODEL,
    Reason.ZERO_SIZE_DIMENSION: ExitCode.UNSUPPORTED_MODEL,
    Reason.RUNTIME_REFUSES: ExitCode.UNSUPPORTED_MODEL,
    Reason.UNSUPPORTED_QUANTIZATION: ExitCode.UNSUPPORTED_MODEL,
    Reason.PRECISION_IMPOSSIBLE: ExitCode.UNSUPPORTED_MODEL,
    Reason.DATASET_INVALID: ExitCode.DATASET_INVALID,
    Reason.NO_SAMPLES: ExitCode.DATASET_INVALID,
    Reason.UNREADABLE_IMAGES: ExitCode.DATASET_INVALID,
    Reason.UNLABELLED_IMAGES: ExitCode.DATASET_INVALID,
    Reason.DATA_OVERLAP: ExitCode.DATASET_INVALID,
    Reason.CALIBRATION_MISSING: ExitCode.BAD_REQUEST,
    Reason.CALIBRATION_INVALID: ExitCode.DATASET_INVALID,
    Reason.PARITY_FAILED: ExitCode.PARITY_FAILED,
    Reason.GATE_FAILED: ExitCode.GATE_FAILED,
    Reason.EDGE_CASE_FAILED: ExitCode.GATE_FAILED,
    Reason.SPEED_GATE_FAILED: ExitCode.GATE_FAILED,
    Reason.MEMORY_NOT_MEASURED: ExitCode.RUNTIME_MISSING,
    Reason.PRECISION_NOT_REACHED: ExitCode.PRECISION_NOT_REACHED,
    Reason.BACKEND_NOT_INSTALLED: ExitCode.RUNTIME_MISSING,
    Reason.PROVIDER_NOT_USED: ExitCode.RUNTIME_MISSING,
    Reason.ENGINE_REFUSED: ExitCode.ENGINE_REFUSED,
    Reason.TENSORRT_MISSING: ExitCode.RUNTIME_MISSING,
    Reason.NO_TENSORRT_DEVICE: ExitCode.DEVICE_MISSING,
    Reason.DEVICE_FAILED: ExitCode.NODE_FAILED,
    Reason.FORMAT_MISMATCH: ExitCode.BAD_REQUEST,
    Reason.TRUST_NEEDED: ExitCode.BAD_REQUEST,
    Reason.UNSAFE_PICKLE: ExitCode.INVALID_MODEL,
    Reason.NO_GRAPH: ExitCode.INVALID_MODEL,
    Reason.INPUT_SHAPES_NEEDED: ExitCode.BAD_REQUEST,
    Reason.LAMBDA_LAYER: ExitCode.UNSUPPORTED_MODEL,
    Reason.PYTHON_FUNCTION: ExitCode.UNSUPPORTED_MODEL,
    Reason.UNSUPPORTED_PROGRAM: ExitCode.UNSUPPORTED_MODEL,
    Reason.LOADER_NOT_INSTALLED: ExitCode.LOADER_MISSING,
    Reason.LOADER_REFUSES: ExitCode.INVALID_MODEL,
    Reason.EXPORT_FAILED: ExitCode.UNSUPPORTED_MODEL,
    Reason.LOADER_DISAGREES: ExitCode.PARITY_FAILED,
    Reason.LOADER_TRIED_NETWORK: ExitCode.LOADER_FAILED,
    Reason.LOADER_LIMIT: ExitCode.LOADER_FAILED,
    Reason.LOADER_CRASHED: ExitCode.LOADER_FAILED,
    Reason.LOADER_RESULT_INVALID: ExitCode.LOADER_FAILED,
    Reason.SANDBOX_UNAVAILABLE: ExitCode.LOADER_FAILED,
    Reason.DISK_FULL: ExitCode.DISK_FULL,
    Reason.STORAGE_EXCEEDED: ExitCode.STORAGE_EXCEEDED,
    Reason.PROCESS_KILLED: ExitCode.NODE_FAILED,
    Reason.QUANTIZER_NOT_INSTALLED: ExitCode.RUNTIME_MISSING,
    Reason.EXPORTER_NOT_INSTALLED: ExitCode.RUNTIME_MISSING,
    Reason.EDGE_EXPORT_FAILED: ExitCode.EXPORT_FAILED,
    Reason.EDGE_EXPORT_DISAGREES: ExitCode.EXPORT_FAILED,
    Reason.REGISTRY_UNAVAILABLE: ExitCode.REGISTRY_UNAVAILABLE,
    Reason.REGISTRY_FORBIDDEN: ExitCode.REGISTRY_UNAVAILABLE,
    Reason.STORE_UNAVAILABLE: ExitCode.REGISTRY_UNAVAILABLE,
    Reason.STORE_FORBIDDEN: ExitCode.REGISTRY_UNAVAILABLE,
    Reason.DELETION_REFUSED: ExitCode.BAD_REQUEST,
    Reason.ARTIFACT_CORRUPT: ExitCode.REGISTRY_UNAVAILABLE,
    Reason.ARTIFACT_MISSING: ExitCode.REGISTRY_UNAVAILABLE,
}
"""A refused push counts as retryable: the platform team's Secret may be repaired without a new revision."""


class ConversionFailure(Exception):
    """A known way to end; `gates` holds what was measured when a goal was missed."""

    def __init__(self, reason: Reason, message: str, *, gates: tuple[GateResult, ...] = ()) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.gates = gates

    @property
    def exit_code(self) -> ExitCode:
        """The exit code by which the pod failure policy tells permanent from retryable."""
        return EXIT_CODES[self.reason]


def first_line(error: BaseException) -> str:
    """Return the first line of a library's message, at most 300 characters, for use inside our sentence."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]


def validation_words(error: ValidationError) -> str:
    """Return what is wrong with each field, by its path."""
    faults = error.errors()
    return "; ".join(f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in faults)
