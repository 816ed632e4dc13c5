"""Exit codes of the conversion Job: the pod failure policy tells permanent from retryable by them.

Codes from 64 to 113 are ours (below are the shell's and Python's, above 128 are signals). Each permanent code
stands for one class of cause; the reason and the sentence for people travel in the termination message.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit code of the converter process."""

    OK = 0
    INTERNAL = 70  # a bug of ours: retried by the Job, then reported
    SOURCE_UNAVAILABLE = 75  # network, store or registry outage: retried
    REGISTRY_UNAVAILABLE = 76  # the store of artifacts, of whatever kind: retried
    DISK_FULL = 77  # the node's, not the Job's own limit: retried
    NODE_FAILED = 78  # a process was killed there, or its GPU failed or lacks memory: retried
    BAD_REQUEST = 80  # the request cannot be read or asks for what this converter does not know
    SOURCE_NOT_FOUND = 81
    SOURCE_FORBIDDEN = 82
    DIGEST_MISMATCH = 83
    INVALID_MODEL = 84  # truncated, not ONNX, checker refuses, hostile external data
    UNSUPPORTED_MODEL = 85  # opset, operator or type this backend cannot run
    DATASET_INVALID = 86
    PARITY_FAILED = 87  # artifact disagrees with its source
    GATE_FAILED = 88  # a labelled goal, an unusual input or a limit of speed or memory
    ENGINE_REFUSED = 89  # TensorRT cannot parse, build or load it
    PRECISION_NOT_REACHED = 95  # the runtime executes another precision than was promised
    RUNTIME_MISSING = 96  # this image or node lacks what was asked to run the model
    LOADER_MISSING = 97  # this image has no loader for the source's format
    LOADER_FAILED = 98  # the sandboxed loader crashed, met a limit, reached for the network or gave nonsense
    DEVICE_MISSING = 99  # the node has no device that TensorRT can use
    STORAGE_EXCEEDED = 105  # the Job's limit of scratch space
    EXPORT_FAILED = 110  # an export that was asked for cannot be made of the artifact, or disagrees with it


PERMANENT_EXIT_CODES: tuple[int, ...] = tuple(sorted(code for code in ExitCode if 80 <= code <= 113))
"""Exit codes after which running the same Job again cannot help; in order, as a pod failure policy wants them."""
