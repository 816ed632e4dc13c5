"""How strategy BlueGreen takes over: a preview that no user reaches, one switch, and a way back while both run.

Part of `Rollout`; `api/spec.py` re-exports every name.
"""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from visionmodel_operator.api.base import ApiModel, Duration, rule
from visionmodel_operator.api.steps import HeaderMatch, HeaderMatches, HeaderValue

DELAY_MESSAGE = "autoPromotionDelay goes with autoPromotion: true"


class BlueGreen(ApiModel):
    """What happens before and after the switch to the new revision."""

    model_config = ConfigDict(
        **ApiModel.model_config,
        json_schema_extra={
            "x-kubernetes-validations": [rule("!has(self.autoPromotionDelay) || self.autoPromotion", DELAY_MESSAGE)]
        },
    )

    preview_headers: HeaderMatches = Field(
        default=[HeaderMatch(header_name="x-visionmodel-preview", header_value=HeaderValue(exact="true"))],
        description="A request that fits any of these goes to the new revision, also before the switch, and is not"
        " judged; an empty list: none does.",
    )
    preview_replicas: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None,
        description="Pods of the new revision before the switch; unset: as many as it needs for everybody.",
    )
    auto_promotion: bool = Field(default=True, description="false: the switch waits until somebody promotes.")
    auto_promotion_delay: Duration | None = Field(
        default=None, description="Shortest time of the preview; unset: the switch follows as soon as pods are ready."
    )
    baseline_weight: Annotated[float, Field(ge=0, le=50)] = Field(
        default=10.0,
        description="Percent of the requests that the previous revision keeps after the switch, to compare the new one"
        " with; 0: none, so that only sloMax and Threshold metrics can send the new one back.",
    )
    scale_down_delay: Duration = Field(
        default="5m",
        description="Shortest time after the switch in which the new revision is judged and the previous one keeps all"
        " its pods, ready to take everybody back.",
    )

    @model_validator(mode="after")
    def _delay_of_something(self) -> Self:
        if self.auto_promotion_delay is not None and not self.auto_promotion:
            raise ValueError(DELAY_MESSAGE)
        return self
