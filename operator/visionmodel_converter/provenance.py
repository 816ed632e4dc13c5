"""Where an artifact comes from, as an in-toto Statement with a SLSA provenance predicate (version 1).

Field names: in-toto.io/Statement/v1 and slsa.dev/spec/v1.0/provenance. No time and no host name, so that the same
conversion gives the same bytes.
"""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from visionmodel_contract.artifact import ONNX_FILE, PLAN_FILE
from visionmodel_contract.build import BUILD_VERSION, BuildRequest
from visionmodel_contract.conversion import PIPELINE_VERSION, ConversionRequest
from visionmodel_contract.precision import Backend
from visionmodel_converter.report import FullReport
from visionmodel_converter.shown import display_uri

RECORDED_PACKAGES: Final = (
    "visionmodel-operator",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxslim",
    "protobuf",
    "obstore",
    "httpx",
)
LOADER_PACKAGES: Final = ("torch", "torchvision", "onnxscript", "tensorflow-cpu", "keras", "tf2onnx")
"""What makes an ONNX graph of another format; an image has those of one framework, or none."""
BUILD_TYPE: Final = "https://visionmodel.dev/build-types/prepare/v1"
ENGINE_BUILD_TYPE: Final = "https://visionmodel.dev/build-types/engine/v1"
BUILDER_ID: Final = "https://visionmodel.dev/builders/visionmodel-convert"


def packages_of(backend: Backend) -> tuple[str, ...]:
    """Return what is recorded for an artifact that this backend was judged in."""
    return (*RECORDED_PACKAGES, "openvino") if backend is Backend.OPENVINO else RECORDED_PACKAGES


def installed_loaders() -> tuple[str, ...]:
    """Return the packages of the framework that this image has."""
    return tuple(name for name in LOADER_PACKAGES if _is_installed(name))


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def package_versions(names: Sequence[str] = RECORDED_PACKAGES) -> dict[str, str]:
    """Return the installed version of each package that can change the artifact."""
    return {name: version(name) for name in names}


def provenance_statement(
    request: ConversionRequest, report: FullReport, *, command: Sequence[str], versions: dict[str, str]
) -> dict[str, Any]:
    """Return the statement about `model.onnx`; the gates' values are in it, so that a promise can be traced."""
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": ONNX_FILE, "digest": _digest(report.model_digest)}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "source": report.source_uri,
                    "options": _options(request, report),
                    "gates": [gate.model_dump(mode="json", by_alias=True) for gate in report.gates],
                },
                "internalParameters": {
                    "pipelineVersion": PIPELINE_VERSION,
                    "prepareKey": report.key,
                    "command": shown_command(command),
                },
                "resolvedDependencies": [
                    {"uri": report.source_uri, "digest": _digest(report.source_digest)},
                    *_data(report),
                    *({"uri": f"pkg:pypi/{name}@{versions[name]}"} for name in sorted(versions)),
                ],
            },
            "runDetails": {
                "builder": {"id": BUILDER_ID, "version": {"pipeline": str(PIPELINE_VERSION)}},
                "metadata": {"invocationId": f"{request.namespace}/{request.name}/{request.revision}"},
            },
        },
    }


def engine_statement(
    request: BuildRequest, report: FullReport, *, command: Sequence[str], versions: dict[str, str]
) -> dict[str, Any]:
    """Return the statement about `model.plan`: made of one ONNX file, on one kind of device."""
    engine = report.engine
    assert engine is not None, "the report of an engine"
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": PLAN_FILE, "digest": _digest(report.model_digest)}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": ENGINE_BUILD_TYPE,
                "externalParameters": {
                    "prepareKey": engine.prepare_key,
                    "options": engine.options.model_dump(mode="json", by_alias=True),
                    "gates": [gate.model_dump(mode="json", by_alias=True) for gate in report.gates],
                },
                "internalParameters": {
                    "buildVersion": BUILD_VERSION,
                    "engineKey": report.key,
                    "target": engine.target.model_dump(mode="json", by_alias=True),
                    "driver": engine.driver,
                    "command": shown_command(command),
                },
                "resolvedDependencies": [
                    {"name": ONNX_FILE, "digest": _digest(engine.model_digest)},
                    *({"uri": f"pkg:pypi/{name}@{versions[name]}"} for name in sorted(versions)),
                ],
            },
            "runDetails": {
                "builder": {"id": BUILDER_ID, "version": {"build": str(BUILD_VERSION)}},
                "metadata": {"invocationId": f"{request.namespace}/{request.name}/{request.revision}"},
            },
        },
    }


def shown_command(command: Sequence[str]) -> list[str]:
    """Return the arguments with each URI as it may be shown, also behind an option's equals sign."""
    parts = (argument.partition("=") if argument.startswith("--") else ("", "", argument) for argument in command)
    return [f"{option}{equals}{display_uri(value) if '://' in value else value}" for option, equals, value in parts]


def _options(request: ConversionRequest, report: FullReport) -> dict[str, Any]:
    """Return the options with the calibration's URI as it may be shown: a signature travels in the asked one."""
    options: dict[str, Any] = request.options.model_dump(mode="json", by_alias=True)
    if options["calibration"] is not None:
        options["calibration"]["datasetUri"] = report.calibration_uri
    return options


def _data(report: FullReport) -> list[dict[str, Any]]:
    """Return the datasets that were read, each with the digest of what arrived."""
    read = ((report.dataset_uri, report.dataset_digest), (report.calibration_uri, report.calibration_digest))
    return [{"uri": uri, "digest": _digest(digest)} for uri, digest in read if uri is not None and digest is not None]


def _digest(prefixed: str) -> dict[str, str]:
    algorithm, _, value = prefixed.partition(":")
    return {algorithm: value}
