"""What is wrong with a dataset, said before anything is computed from it.

A finding warns where the numbers are worth less, and refuses where they would mean nothing. Each has its own
sentence and the first few samples that show it.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.images import ImageSamples
from visionmodel_converter.gates.samples import Samples
from visionmodel_converter.gates.tasks import TaskKind
from visionmodel_converter.report import DataFinding
from visionmodel_pipeline.decoding import BadImage

UNREADABLE_SHARE: Final = 0.05
"""More unreadable images than this: not a few bad files but a bad archive."""
UNLABELLED_SHARE: Final = 0.1
OVERLAP_SHARE: Final = 0.5
"""More of the evaluation set used for calibration than this: the scales were chosen for the very samples judged."""
SMALLEST_SIDE: Final = 32
LARGEST_IMBALANCE: Final = 10
ENOUGH_FOR_CALIBRATION: Final = 100
"""Measured: 32 images instead of 256 cost a small detector 1.2 points of mAP."""
SHOWN: Final = 5
BATCH: Final = 8

REFUSALS: Final = {
    "unreadable": Reason.UNREADABLE_IMAGES,
    "unlabelled": Reason.UNLABELLED_IMAGES,
    "overlap": Reason.DATA_OVERLAP,
}
"""Reasons of the checks that may refuse."""

Severity = Literal["refuse", "warn"]


class Role(StrEnum):
    """What the samples are for."""

    EVALUATION = "evaluation"
    CALIBRATION = "calibration"


@dataclass(frozen=True, slots=True, eq=False)
class CheckedSamples:
    """Samples fit to be used, and what was found out about them.

    Attributes:
        samples: without those that cannot be read.
        shown: what messages call the dataset.
        digests: SHA-256 of each sample's content, by its name.
        findings: warnings and refusals.
    """

    samples: Samples
    shown: str
    digests: dict[str, bytes]
    findings: tuple[DataFinding, ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    """One pass over the files: what each holds, in the order of the samples."""

    digests: dict[str, bytes]
    unreadable: dict[str, str]
    small: tuple[str, ...]


def check_samples(samples: Samples, *, role: Role, shown: str, names: Sequence[str] = ()) -> CheckedSamples:
    """Read every sample once and say what is wrong; refuses nothing by itself.

    Args:
        samples: as they were opened.
        role: calibration needs no labels.
        shown: what messages call the dataset.
        names: of the classes by number, where the task knows them.
    """
    seen = _seen(samples)
    usable = samples
    if isinstance(samples, ImageSamples) and seen.unreadable:
        usable = samples.without(seen.unreadable)
    findings = [*_of_files(samples.count, seen, shown)]
    if role is Role.EVALUATION:
        findings += _of_labels(usable, shown, names)
    elif samples.count < ENOUGH_FOR_CALIBRATION:
        words = f"{samples.count} samples calibrate badly; use {ENOUGH_FOR_CALIBRATION} or more, best 500"
        findings.append(_finding("fewSamples", shown, "warn", words))
    return CheckedSamples(usable, shown, seen.digests, tuple(findings))


def check_overlap(calibration: CheckedSamples, evaluation: CheckedSamples) -> tuple[DataFinding, ...]:
    """Return the finding that samples are judged which the scales were chosen for, if there are any."""
    known = set(calibration.digests.values())
    both = [name for name, digest in evaluation.digests.items() if digest in known]
    if not both:
        return ()
    share = len(both) / len(evaluation.digests)
    return (
        _finding(
            "overlap",
            evaluation.shown,
            "refuse" if share > OVERLAP_SHARE else "warn",
            f"{share:.1%} of the evaluation samples are calibration samples too ({calibration.shown}), so the metric "
            "is better than it will be in use; take them out of one of the two",
            both,
        ),
    )


def refuse_bad_data(findings: Iterable[DataFinding]) -> None:
    """Raise the reason of the first refusal with the sentence of every one."""
    refused = [finding for finding in findings if finding.severity == "refuse"]
    if refused:
        raise ConversionFailure(
            REFUSALS[refused[0].check],
            "; ".join(f"dataset {finding.dataset}: {finding.message}{_examples(finding)}" for finding in refused),
        )


def _examples(finding: DataFinding) -> str:
    return f" (first: {', '.join(finding.samples)})" if finding.samples else ""


def _seen(samples: Samples) -> _Seen:
    digests: dict[str, bytes] = {}
    unreadable: dict[str, str] = {}
    small: list[str] = []
    if not isinstance(samples, ImageSamples):
        return _Seen(dict(_tensor_digests(samples)), unreadable, ())
    for name, data in samples.files():
        try:
            height, width = samples.decoded(data).shape[:2]
        except BadImage as error:
            unreadable[name] = str(error)
            continue
        digests[name] = hashlib.sha256(data).digest()
        if min(height, width) < SMALLEST_SIDE:
            small.append(name)
    return _Seen(digests, unreadable, tuple(small))


def _tensor_digests(samples: Samples) -> Iterator[tuple[str, bytes]]:
    for batch in samples.batches(BATCH):
        for row, name in enumerate(batch.names):
            sha = hashlib.sha256()
            for tensor in sorted(batch.tensors):
                sha.update(batch.tensors[tensor][row].tobytes())
            yield name, sha.digest()


def _of_files(count: int, seen: _Seen, shown: str) -> Iterator[DataFinding]:
    if seen.unreadable:
        share = len(seen.unreadable) / count
        first = next(iter(seen.unreadable.values()))
        is_bad = share > UNREADABLE_SHARE
        yield _finding(
            "unreadable",
            shown,
            "refuse" if is_bad else "warn",
            f"{len(seen.unreadable)} of {count} images ({share:.1%}) cannot be read ({first})"
            + (f", more than {UNREADABLE_SHARE:.0%}" if is_bad else " and are left out")
            + "; store them again",
            seen.unreadable,
        )
    if seen.small:
        yield _finding(
            "small",
            shown,
            "warn",
            f"{len(seen.small)} of {count} images have a side below {SMALLEST_SIDE} pixels, which shows little",
            seen.small,
        )
    first_of: dict[bytes, str] = {}
    copies = [name for name, digest in seen.digests.items() if first_of.setdefault(digest, name) != name]
    if copies:
        words = f"{len(copies)} of {count} samples are copies of others, so some count more than once"
        yield _finding("duplicates", shown, "warn", words, copies)


def _of_labels(samples: Samples, shown: str, names: Sequence[str]) -> Iterator[DataFinding]:
    if isinstance(samples, ImageSamples):
        yield from _unlabelled(samples, shown)
    counts = samples.class_counts
    if not counts:
        return
    absent = [name for number, name in enumerate(names) if number not in counts]
    if absent:
        words = f"{len(absent)} of {len(names)} classes have no sample, so nothing is known of them"
        yield _finding("absentClasses", shown, "warn", words, absent)
    (most, largest), (least, smallest) = counts.most_common()[0], counts.most_common()[-1]
    if largest > LARGEST_IMBALANCE * smallest:
        yield _finding(
            "imbalance",
            shown,
            "warn",
            f"class {_called(most, names)} occurs {largest} times, class {_called(least, names)} {smallest}: more "
            f"than {LARGEST_IMBALANCE} to 1, so the rare class hardly shows in an accuracy",
        )


def _unlabelled(samples: ImageSamples, shown: str) -> Iterator[DataFinding]:
    has_truth = {
        TaskKind.CLASSIFICATION: lambda record: record.label is not None,
        TaskKind.DETECTION: lambda record: record.objects is not None,
        TaskKind.SEGMENTATION: lambda record: record.mask is not None,
    }
    for kind in sorted(samples.labelled):
        bare = [record.name for record in samples.records if not has_truth[kind](record)]
        if bare:
            share = len(bare) / samples.count
            yield _finding(
                "unlabelled",
                shown,
                "refuse" if share > UNLABELLED_SHARE else "warn",
                f"{len(bare)} of {samples.count} images ({share:.1%}) have no ground truth for {kind}; the labelled "
                "metrics leave them out: label them or remove them",
                bare,
            )


def _called(number: int, names: Sequence[str]) -> str:
    return repr(names[number]) if number < len(names) else str(number)


def _finding(check: str, shown: str, severity: Severity, message: str, samples: Iterable[str] = ()) -> DataFinding:
    return DataFinding(check=check, dataset=shown, severity=severity, message=message, samples=tuple(samples)[:SHOWN])
