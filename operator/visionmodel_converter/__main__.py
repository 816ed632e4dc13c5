"""The conversion Job's process: read the request, run it, leave the summary where the kubelet finds it.

This is the only place that catches exceptions: a ConversionFailure becomes its exit code, anything else is a bug
(exit 70, retried by the Job). The summary goes into the termination message either way.
"""

import argparse
import os
import platform
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TypeVar

from pydantic import ValidationError

from visionmodel_contract.build import BuildRequest
from visionmodel_contract.conversion import ContractModel, ConversionRequest
from visionmodel_contract.exits import ExitCode
from visionmodel_contract.report import Failure, ReportSummary
from visionmodel_converter.command_line import add_arguments, add_collect_arguments, store_of
from visionmodel_converter.environment import Environment, environment_from
from visionmodel_converter.failures import ConversionFailure, Reason, first_line, validation_words
from visionmodel_converter.journal import Journal
from visionmodel_converter.report import failed_summary, termination_message
from visionmodel_converter.storage import Storage, disk_full, is_disk_full

CGROUP = Path("/sys/fs/cgroup")
CPUINFO = Path("/proc/cpuinfo")
COMMANDS = ("convert", "prepare", "build", "fetch-artifact", "collect")
FOR_PEOPLE = ("convert", "collect")
"""Commands that leave no summary for an operator."""
DEFAULT_TERMINATION_MESSAGE = Path("/dev/termination-log")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code (contract.exits)."""
    command = sys.argv if arguments is None else ["visionmodel-convert", *arguments]
    words = command[1:]
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        words = ["convert", *words]
    options = _parser().parse_args(words)
    signal.signal(signal.SIGTERM, _stop)
    journal = Journal(sys.stdout, lambda: datetime.now(UTC))  # noqa: TID251 - the edge: this is the clock
    try:
        summary = _run(options, journal, command)
    except Exception as found:
        error = disk_full(first_line(found)) if is_disk_full(found) else found
        failure = _failure_of(error)
        if not isinstance(error, ConversionFailure):
            traceback.print_exc()
        if options.command in FOR_PEOPLE:
            print(f"{failure.reason}: {failure.message}", file=sys.stderr)  # noqa: T201 - for the person who asked
            return failure.exit_code
        journal.fail(failure.reason, failure.message)
        gates = error.gates if isinstance(error, ConversionFailure) else ()
        _leave(
            options.termination_message,
            failed_summary(failure, resolved=journal.resolved, gates=gates),
        )
        return failure.exit_code
    if summary is not None:
        _leave(options.termination_message, summary)
    return ExitCode.OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="visionmodel-convert", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    add_arguments(commands.add_parser("convert", help="convert a model on this machine; the word may be left out"))
    prepare = commands.add_parser("prepare", help="convert a model, prove it and publish the artifact")
    engine = commands.add_parser("build", help="build a TensorRT engine of an artifact on this machine's GPU")
    for command, request in ((prepare, "ConversionRequest"), (engine, "BuildRequest")):
        command.add_argument("--request", type=Path, required=True, help=f"{request} as JSON")
        command.add_argument("--work", type=Path, required=True, help="empty scratch folder on local disk")
    fetch = commands.add_parser("fetch-artifact", help="unpack a published artifact into a folder")
    fetch.add_argument("--image", required=True, help="host[:port]/name@sha256:... or :tag, or s3://...@sha256:...")
    fetch.add_argument("--out", type=Path, required=True, help="the model's version directory")
    fetch.add_argument("--insecure", action="store_true", help="the registry speaks plain HTTP")
    add_collect_arguments(commands.add_parser("collect", help="delete artifacts that nobody needs from their store"))
    for command in (prepare, engine, fetch):
        command.add_argument("--termination-message", type=Path, default=DEFAULT_TERMINATION_MESSAGE)
    return parser


def _stop(_signal: int, _frame: FrameType | None) -> None:
    """End on SIGTERM: as process 1 of a container the default action would be ignored."""
    raise SystemExit(128 + signal.SIGTERM)


def _run(options: argparse.Namespace, journal: Journal, command: Sequence[str]) -> ReportSummary | None:
    environment = _environment()
    if options.command == "convert":
        _convert(options, environment, journal, command)
        return None
    if options.command == "collect":
        _collect(options, environment, journal)
        return None
    if options.command == "prepare":
        return _prepare(options, environment, journal, command)
    if options.command == "build":
        return _build(options, environment, journal, command)
    _fetch_artifact(options, environment)
    journal.end(f"unpacked {options.image}")
    return None


def _convert(options: argparse.Namespace, environment: Environment, journal: Journal, command: Sequence[str]) -> None:
    from visionmodel_converter.formats.load import loader_limits
    from visionmodel_converter.graph.session import cpu_model, cpu_threads
    from visionmodel_converter.standalone import Machine, convert

    threads = cpu_threads(CGROUP, len(os.sched_getaffinity(0)))
    machine = Machine(
        environment, threads, loader_limits(CGROUP), journal.now, cpu=cpu_model(CPUINFO, platform.machine())
    )
    for folder in convert(options, machine, command):
        print(folder)  # noqa: T201 - the answer, for scripts


def _prepare(
    options: argparse.Namespace, environment: Environment, journal: Journal, command: Sequence[str]
) -> ReportSummary:
    from visionmodel_converter.formats.load import loader_limits
    from visionmodel_converter.graph.session import cpu_model, cpu_threads
    from visionmodel_converter.prepare import Job, prepare
    from visionmodel_converter.store.opening import open_store

    request = _request(options.request, ConversionRequest)
    options.work.mkdir(parents=True, exist_ok=True)
    threads = cpu_threads(CGROUP, len(os.sched_getaffinity(0)))
    with open_store(request.publish, environment, journal.now) as store:
        job = Job(
            request,
            options.work,
            environment,
            store,
            journal,
            threads,
            command,
            cpu=cpu_model(CPUINFO, platform.machine()),
            loader_limits=loader_limits(CGROUP),
            storage=_storage(options, environment),
        )
        return prepare(job)


def _build(
    options: argparse.Namespace, environment: Environment, journal: Journal, command: Sequence[str]
) -> ReportSummary:
    from visionmodel_converter.build import BuildJob, build
    from visionmodel_converter.engines.gpu import first_gpu
    from visionmodel_converter.graph.session import cpu_threads
    from visionmodel_converter.store.opening import open_store

    request = _request(options.request, BuildRequest)
    journal.learn(gate_key=request.gate_key)
    device = first_gpu()
    options.work.mkdir(parents=True, exist_ok=True)
    threads = cpu_threads(CGROUP, len(os.sched_getaffinity(0)))
    with open_store(request.publish, environment, journal.now) as store:
        job = BuildJob(
            request,
            options.work,
            environment,
            store,
            device,
            journal,
            threads,
            command,
            storage=_storage(options, environment),
        )
        return build(job)


def _storage(options: argparse.Namespace, environment: Environment) -> Storage:
    return Storage((options.work, Path(tempfile.gettempdir())), environment.storage_limit_bytes)


R = TypeVar("R", bound=ContractModel)


def _request(path: Path, kind: type[R]) -> R:
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ConversionFailure(
            Reason.BAD_REQUEST,
            f"the conversion request cannot be read ({validation_words(error)}); operator and converter differ: use "
            "the images of one release",
        ) from error


def _fetch_artifact(options: argparse.Namespace, environment: Environment) -> None:
    from visionmodel_converter.store.opening import BUCKETS, fetch_from_bucket
    from visionmodel_converter.store.publish import fetch_files, names_of
    from visionmodel_converter.store.registry import Reference, open_registry

    if options.image.partition("://")[0] in BUCKETS:
        fetch_from_bucket(options.image, options.out, environment, insecure=options.insecure)
        return
    wanted = Reference.parse(options.image)
    reference = wanted.digest or wanted.tag
    if reference is None:
        raise ConversionFailure(Reason.BAD_REQUEST, f"{options.image}: name a digest or a tag")
    with open_registry(wanted.host, wanted.name, insecure=options.insecure, environment=environment) as registry:
        manifest = registry.manifest(reference)
        if manifest is None:
            raise ConversionFailure(
                Reason.ARTIFACT_CORRUPT, f"{options.image} is not in the registry; convert the model again"
            )
        fetch_files(registry, manifest, options.out, names_of(manifest))


def _collect(options: argparse.Namespace, environment: Environment, journal: Journal) -> None:
    from visionmodel_converter.store.collection import Fate, age_of, collect, read_kept, words_of
    from visionmodel_converter.store.opening import open_store

    try:
        minimum_age = age_of(options.minimum_age)
    except ValueError as error:
        raise ConversionFailure(Reason.BAD_REQUEST, f"--minimum-age: {error}") from error
    kept, results = read_kept(options.kept), []
    with open_store(store_of(options.store, insecure=options.insecure), environment, journal.now) as store:
        for one in collect(store, kept, minimum_age=minimum_age, now=journal.now(), dry_run=options.dry_run):
            results.append(one)
            if one.fate not in (Fate.NEEDED, Fate.YOUNG):
                print(f"{'dry run: ' if options.dry_run else ''}{one.name}: {one.fate}", flush=True)  # noqa: T201 - the log of what was deleted
        print(f"{store.shown}: {words_of(results, dry_run=options.dry_run)}")  # noqa: T201


def _environment() -> Environment:
    try:
        return environment_from(os.environ)
    except ValueError as error:
        raise ConversionFailure(
            Reason.BAD_REQUEST,
            f"an environment variable VISIONMODEL_MAX_*_MIB or VISIONMODEL_STORAGE_LIMIT_BYTES is no number: {error}",
        ) from error


def _failure_of(error: Exception) -> Failure:
    if isinstance(error, ConversionFailure):
        return Failure(reason=error.reason, message=error.message, exit_code=error.exit_code)
    return Failure(
        reason=Reason.INTERNAL_ERROR,
        message=f"a defect of the converter: {type(error).__name__}: {error}",
        exit_code=ExitCode.INTERNAL,
    )


def _leave(path: Path, summary: ReportSummary) -> None:
    path.write_text(termination_message(summary), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
