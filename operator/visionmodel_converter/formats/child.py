"""The loader's process: lock in, load, export, run for reference, write everything into one folder, end.

Started by `sandbox` as `python -I -m visionmodel_converter.formats.child JOB`, where JOB is a file. Known failures
travel in the verdict; anything else ends the process with a traceback, which the parent calls a crash.
"""

import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from visionmodel_contract.conversion import ContractModel, SourceInput
from visionmodel_contract.formats import SourceFormat
from visionmodel_converter.failures import ConversionFailure, Reason, first_line
from visionmodel_converter.formats.confinement import Confinement, NotConfined, confine

MODEL_FILE: Final = "model.onnx"
REFERENCES_FILE: Final = "references.npz"
VERDICT_FILE: Final = "verdict.json"
OWN_REASONS: Final = frozenset(
    (
        *(Reason.LAMBDA_LAYER, Reason.PYTHON_FUNCTION, Reason.CUSTOM_OPERATOR, Reason.NO_GRAPH),
        *(Reason.INPUT_SHAPES_NEEDED, Reason.UNSUPPORTED_PROGRAM, Reason.LOADER_REFUSES, Reason.EXPORT_FAILED),
        *(Reason.LOADER_NOT_INSTALLED, Reason.LOADER_LIMIT, Reason.SANDBOX_UNAVAILABLE, Reason.UNSAFE_PICKLE),
    )
)
"""What a loader may say. All are permanent: a file that took the process over cannot make the Job try again."""


class LoaderJob(ContractModel):
    """What the parent asks of the child; `out` is empty and writable."""

    format: SourceFormat
    source: str
    out: str
    inputs: tuple[SourceInput, ...] = ()
    confinement: Confinement


class Verdict(ContractModel):
    """How the load ended; without a reason the other files are there."""

    reason: Reason | None = None
    message: str = ""


Work = Callable[[LoaderJob], None]


def convert(job: LoaderJob) -> None:
    """Load the source, write the graph and the references. Raises ConversionFailure."""
    from visionmodel_converter.formats.loaded import load_function
    from visionmodel_converter.formats.references import make_references, write_references

    warnings.simplefilter("ignore")  # of the frameworks, about each other
    loaded = load_function(job.format)(Path(job.source), job.inputs)
    out = Path(job.out)
    (out / MODEL_FILE).write_bytes(loaded.model)
    write_references(make_references(loaded), out / REFERENCES_FILE)


def main(arguments: Sequence[str], work: Work = convert) -> int:
    """Entry point; `work` is another one in the sandbox's own tests."""
    job = LoaderJob.model_validate_json(Path(arguments[0]).read_bytes())
    try:
        confine(job.confinement)
        work(job)
        verdict = Verdict()
    except NotConfined as failure:
        verdict = Verdict(reason=Reason.SANDBOX_UNAVAILABLE, message=str(failure))
    except ImportError as error:
        verdict = Verdict(reason=Reason.LOADER_NOT_INSTALLED, message=_half_installed(error))
    except ConversionFailure as failure:
        verdict = Verdict(reason=failure.reason, message=failure.message)
    except MemoryError:
        verdict = Verdict(reason=Reason.LOADER_LIMIT, message=out_of_memory(job.confinement))
    (Path(job.out) / VERDICT_FILE).write_text(verdict.to_json(), encoding="utf-8")
    return 0


def _half_installed(error: ImportError) -> str:
    return f"this image's loader is incomplete ({first_line(error)}); build it from the lock of this release"


def out_of_memory(confinement: Confinement) -> str:
    """Return the sentence for a loader that met its memory limit."""
    mebibytes = confinement.limits.memory_bytes // 1024**2
    return (
        f"loading it needs more than {mebibytes} MiB of memory; have the platform team raise jobResources.memory, or "
        "export the model to ONNX where it was trained"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
