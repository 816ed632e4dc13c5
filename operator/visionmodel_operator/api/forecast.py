"""What was known of a rollout's traffic when it began. Part of `VisionModelStatus`."""

from typing import Annotated

from pydantic import Field

from visionmodel_operator.api.base import ApiModel


class ForecastStatus(ApiModel):
    """What the rollout can detect at the traffic it began with; rates are unset where Prometheus had no data."""

    requests_per_second: float | None = Field(default=None, description="Requests of both revisions.")
    error_rate: float | None = Field(default=None, description="Share of them that fails.")
    blind_spot: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, description="Why it cannot detect a doubling of that share."
    )
