"""What becomes of a rollout where devices are scarce: the user's wish, and the operator's recorded choice.

Part of `VisionModelSpec` and `VisionModelStatus`, which re-export the names.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from visionmodel_operator.api.base import ApiModel


class WhenFull(StrEnum):
    """What a rollout does without free devices for the canary beside the stable revision."""

    WAIT = "Wait"
    SHRINK_BY_ONE = "ShrinkByOne"


class CapacityChoice(StrEnum):
    """Where the canary's devices come from."""

    SURGE = "Surge"  # free ones, beside all of stable's
    SHRINK_BY_ONE = "ShrinkByOne"  # stable gives pods, one at a time
    WAIT = "Wait"  # nowhere yet
    UNCOUNTED = "Uncounted"  # the operator may not count, and tries


class CapacityStatus(ApiModel):
    """Where the canary's devices come from, chosen before its first pod; only Wait ever changes."""

    choice: CapacityChoice = Field(description="Surge, ShrinkByOne, Wait or Uncounted.")
    message: Annotated[str, Field(max_length=1024)] = Field(default="", description="The numbers behind it.")
    beside: Annotated[list[int], Field(max_length=4)] = Field(
        default=[], description="ShrinkByOne: canary pods of each accelerator that had room beside all of stable's."
    )
    pods: int | None = Field(
        default=None, description="ShrinkByOne: canary pods that there is room for since stable gave some of its own."
    )
