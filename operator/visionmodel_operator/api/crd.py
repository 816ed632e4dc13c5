"""The CustomResourceDefinition of VisionModel, made from the API types; `scripts/generate.py` writes it to files.

Never registered by the operator itself: `helm install` or `kubectl apply` does that with the generated file.
"""

from typing import Any

from visionmodel_operator.api.base import (
    GROUP,
    KIND,
    OBJECT_NAME_MAX_LENGTH,
    OBJECT_NAME_PATTERN,
    PLURAL,
    VERSION,
    rule,
)
from visionmodel_operator.api.schema import Schema, structural_schema
from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.api.status import VisionModelStatus

CRD_NAME = f"{PLURAL}.{GROUP}"
CRD_LIMIT_BYTES = 150_000
"""Client-side apply keeps a copy in an annotation, which may hold 256 KiB."""


def crd_document() -> dict[str, Any]:
    """Return the whole CustomResourceDefinition as plain data."""
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": object_schema()},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.serving.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "selectableFields": [{"jsonPath": ".status.phase"}],
        "additionalPrinterColumns": list(PRINTER_COLUMNS),
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": CRD_NAME},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["vmodel"],
                "categories": ["vision"],
            },
            "versions": [version],
        },
    }


def object_schema() -> Schema:
    """Return the schema of a whole VisionModel."""
    return {
        "description": "A computer-vision model that is converted, proven, served and rolled out step by step.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"Always {GROUP}/{VERSION}."},
            "kind": {"type": "string", "description": f"Always {KIND}."},
            "metadata": {"type": "object"},
            "spec": structural_schema(VisionModelSpec, defaults=True),
            "status": structural_schema(VisionModelStatus, defaults=False),
        },
        "x-kubernetes-validations": [
            rule(
                f"self.metadata.name.size() <= {OBJECT_NAME_MAX_LENGTH}"
                f" && self.metadata.name.matches('{OBJECT_NAME_PATTERN}')",
                f"metadata.name must begin with a letter, hold only a-z, 0-9 and -, and be no longer than"
                f" {OBJECT_NAME_MAX_LENGTH} characters: Services are named after it",
            )
        ],
    }


def _column(name: str, path: str, kind: str = "string", *, wide: bool = False, about: str) -> dict[str, Any]:
    column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path, "description": about}
    return {**column, "priority": 1} if wide else column


PRINTER_COLUMNS = (
    _column("Ready", '.status.conditions[?(@.type=="Ready")].status', about="Are users served."),
    _column("Phase", ".status.phase", about="Where the object is."),
    _column("Stable", ".status.stable.revision", about="The revision that is trusted."),
    _column("Canary", ".status.canary.revision", about="The revision on trial."),
    _column("Weight", ".status.canary.weight", "number", about="Percent of the requests that the canary gets."),
    _column("Age", ".metadata.creationTimestamp", "date", about="Time since creation."),
    _column(
        "Precision", ".status.conversion.report.precision", wide=True, about="Precision that the artifact really has."
    ),
    _column("Backend", ".spec.conversion.backend", wide=True, about="What executes the artifact in Triton."),
    _column("URL", ".status.url", wide=True, about="Where the model answers."),
    _column("Reason", ".status.reason", wide=True, about="Why the object is where it is."),
)
"""What `kubectl get` shows, and with `-o wide` the rest."""
