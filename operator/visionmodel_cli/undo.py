"""Going back: which revision is meant, and the spec with its sections put back. Pure.

The operator stores with each revision the sections of the spec that it was made of (`spec.json` in the ConfigMap
`<name>-<revision>`); to go back is to ask for them again. The operator makes one jump of it where that revision was
stable lately, and a rollout like any other elsewhere.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from visionmodel_cli.actions import status_in
from visionmodel_cli.failures import Refusal
from visionmodel_operator.api.conditions import Outcome
from visionmodel_operator.api.status import VisionModelStatus
from visionmodel_operator.api.v1alpha1 import VisionModelSpec, parse_spec
from visionmodel_operator.core import names
from visionmodel_operator.core.revision import REVISION_SECTIONS, revision_of
from visionmodel_operator.core.window import revisions_in_window
from visionmodel_operator.errors import UserError

KEPT_AS_IT_IS: Final = (
    ("serving", "replicas"),
    ("conversion", "autoApply"),
    ("conversion", "deadline"),
    ("conversion", "queueName"),
)
"""What the sections hold beside the revision: how many pods, and how a conversion is run, are today's to say."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Undo:
    """A JSON patch of the spec.

    Attributes:
        patch: RFC 6902; its first operation makes the API server refuse it where the spec has changed meanwhile.
        warnings: what is no part of a revision and may have moved since: the place of the model, and its credentials.
    """

    revision: str
    patch: tuple[Json, ...]
    said: str
    warnings: tuple[str, ...] = ()

    def document(self) -> Json:
        """Return the request as JSON."""
        return {
            "revision": self.revision,
            "patch": list(self.patch),
            "message": self.said,
            "warnings": list(self.warnings),
        }


def revision_to_go_back_to(model: Mapping[str, Any], asked: str | None) -> str:
    """Return the revision that is meant: as asked; stable, where the spec asks for another; or the one before it.

    Raises:
        Refusal: there is none, the spec asks for it already, or a name fits several.
    """
    name, status = model["metadata"]["name"], status_in(model)
    stable = status.stable.revision if status.stable else None
    target = _asked_for(model)
    if asked is not None:
        known = {one.revision for one in status.revisions} | {entry.revision for entry in status.history}
        fitting = sorted(revision for revision in known if revision.startswith(asked))
        if len(fitting) != 1:
            what = f"fits {', '.join(fitting)}: name more of it" if fitting else "is not known"
            raise Refusal(f"Revision {asked!r} of VisionModel {name!r} {what}; see `history {name}`.")
        found = fitting[0]
    elif stable is not None and stable != target:
        found = stable
    else:
        promoted = [entry.revision for entry in status.history if entry.outcome is Outcome.PROMOTED]
        earlier = next((revision for revision in promoted if revision != stable), None)
        if earlier is None:
            raise Refusal(f"VisionModel {name!r} has no earlier revision that was promoted; name one by --to.")
        found = earlier
    if found == target:
        raise Refusal(f"The spec of VisionModel {name!r} asks for revision {found} already.")
    return found


def _asked_for(model: Mapping[str, Any]) -> str | None:
    """Return the revision of the spec as it stands, which the operator may not have looked at; None: it is invalid."""
    try:
        return revision_of(parse_spec(model["spec"]))
    except UserError:
        return None


def undo(model: Mapping[str, Any], revision: str, stored: Mapping[str, str] | None, now: datetime) -> Undo:
    """Return the patch that puts a revision's sections back.

    Args:
        model: the VisionModel as the API server has it.
        revision: to go back to.
        stored: data of the revision's ConfigMap, None where there is none.
        now: to say whether it goes back in one jump.

    Raises:
        Refusal: its spec was not stored, or would not be this revision today.
    """
    name, spec = model["metadata"]["name"], model["spec"]
    if stored is None:
        raise Refusal(
            f"Nothing is stored of revision {revision} any more (spec.revisionHistoryLimit keeps the newest); `history"
            f" {name}` marks those that can be put back. Apply the old spec from where it is kept."
        )
    if names.SPEC_FILE not in stored:
        raise Refusal(
            f"Revision {revision} was made by an operator that did not store its spec: apply the old spec from where it"
            " is kept, such as Git. Those made from now on can be put back."
        )
    then = json.loads(stored[names.SPEC_FILE])
    sections = _with_todays(then, spec)
    try:
        wanted = parse_spec({**_without_sections(spec), **sections})
    except UserError as error:
        raise Refusal(f"The stored spec of revision {revision} is not valid any more: {error}") from error
    if (found := revision_of(wanted)) != revision:
        raise Refusal(
            f"The stored spec of revision {revision} would be revision {found} for this release: apply the old spec"
            " from where it is kept, and it is judged anew."
        )
    # The generation, since the resourceVersion moves with every pass of the operator.
    patch = [{"op": "test", "path": "/metadata/generation", "value": model["metadata"]["generation"]}]
    for section in REVISION_SECTIONS:
        if section in sections:
            patch.append({"op": "add", "path": f"/spec/{section}", "value": sections[section]})
        elif section in spec:
            patch.append({"op": "remove", "path": f"/spec/{section}"})
    said = f"The spec asks for revision {revision} again; {_what_follows(status_in(model), wanted, revision, now)}."
    return Undo(revision, tuple(patch), said, _moved_since(then.get("model", {}), spec.get("model", {})))


def _what_follows(status: VisionModelStatus, wanted: VisionModelSpec, revision: str, now: datetime) -> str:
    if status.stable is not None and status.stable.revision == revision:
        return "it is stable, and what is under way is turned back"
    if revision in revisions_in_window(status, wanted.rollback_window, now):
        return "it was stable lately, so all requests go back to it in one jump"
    return "its rollout follows, step by step"


def _with_todays(sections: Json, spec: Mapping[str, Any]) -> Json:
    kept = {section: dict(value) if isinstance(value, dict) else value for section, value in sections.items()}
    for section, field in KEPT_AS_IT_IS:
        kept[section].pop(field, None)
        if field in spec.get(section, {}):
            kept[section][field] = spec[section][field]
    today = spec.get("model", {})
    if "model" in kept and _store(kept["model"]) == _store(today):
        kept["model"].pop("secretRef", None)
        kept["model"] |= {field: value for field, value in today.items() if field == "secretRef"}
    return kept


def _store(model: Json) -> tuple[str, str]:
    """Return scheme and authority of the model's address: credentials are for these, not for a revision."""
    parts = urlsplit(model.get("storageUri", ""))
    return parts.scheme, parts.netloc


def _moved_since(then: Json, today: Json) -> tuple[str, ...]:
    """Return what a person should look at: credentials of today are kept for the same store, and for no other."""
    before, now = (model.get("secretRef", {}).get("name") for model in (then, today))
    if _store(then) == _store(today):
        if before == now:
            return ()
        return (f"model.secretRef stays as it is ({now or 'none'}); at that time it was {before or 'none'}.",)
    place = (
        f"model.storageUri is {then.get('storageUri')} again, in another store than today's: where the model was moved"
        " since, correct it. Nothing is read from there while its artifact is kept."
    )
    if before == now:
        return (place,)
    return place, f"model.secretRef is {before or 'none'} again, as it was for that store; today it is {now or 'none'}."


def _without_sections(spec: Mapping[str, Any]) -> Json:
    return {section: value for section, value in spec.items() if section not in REVISION_SECTIONS}
