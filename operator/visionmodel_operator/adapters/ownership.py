"""Whose an object is; pure.

Names of children follow from the VisionModel's name, so one of them may be taken. A forced apply would hijack what is
there, and the garbage collector would later delete it.
"""

from visionmodel_operator.adapters.reading import Raw, field_of, label_of, name_of
from visionmodel_operator.api.conditions import Reason
from visionmodel_operator.core.names import child_labels
from visionmodel_operator.core.snapshot import ObjectRef
from visionmodel_operator.errors import UserError


def is_child(raw: Raw, ref: ObjectRef) -> bool:
    """Whether an object is a VisionModel's: it names it as owner, or was made for one of that name.

    The labels alone count too: a backup that was restored, or a namesake that was just deleted, leaves children whose
    owner is gone; they are taken over.
    """
    owners = field_of(raw, "metadata", "ownerReferences", default=[])
    if any(owner.get("uid") == ref.uid for owner in owners):
        return True
    return all(label_of(raw, label) == value for label, value in child_labels(ref.name).items())


def refuse_foreign(manifest: Raw, live: Raw, ref: ObjectRef) -> None:
    """Raise UserError when what we want to write as a child is there already and somebody else's."""
    is_meant_as_child = bool(field_of(manifest, "metadata", "ownerReferences"))
    if is_meant_as_child and not is_child(live, ref):
        message = (
            f"{manifest['kind']} {name_of(manifest)} exists and was not made for VisionModel {ref.name}: delete it,"
            " or give the VisionModel another name."
        )
        raise UserError(Reason.APPLY_REFUSED, message)
