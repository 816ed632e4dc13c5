"""What one step of a rollout changes: the canary's share, who reaches it by a header, how many pods it has.

Part of `Rollout`; `api/spec.py` re-exports every name.
"""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from visionmodel_operator.api.base import ApiModel, Duration, rule

HEADER_NAME_PATTERN = "^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?$"
HEADER_VALUE_PATTERN = "^[!-~]+$"
"""Visible ASCII without spaces: what every proxy hands on unchanged."""
Percent = Annotated[float, Field(ge=0, le=100)]


class Pause(ApiModel):
    """Wait at the current weight: for a time, or until promoted when no duration is given."""

    duration: Duration | None = Field(default=None, description="How long to wait; unset: until promoted.")


class HeaderValue(ApiModel):
    """How the value of a header is compared."""

    exact: Annotated[str, Field(pattern=HEADER_VALUE_PATTERN, min_length=1, max_length=128)] = Field(
        description="The whole value, letter by letter."
    )


class HeaderMatch(ApiModel):
    """One header by which a request asks for the canary."""

    header_name: Annotated[str, Field(pattern=HEADER_NAME_PATTERN, max_length=64)] = Field(
        description="Name of the header; case does not matter."
    )
    header_value: HeaderValue = Field(description="Its value.")


HeaderMatches = Annotated[list[HeaderMatch], Field(max_length=4)]


class HeaderRoute(ApiModel):
    """Which requests go to the canary whatever its weight."""

    match: HeaderMatches = Field(
        default=[], description="A request that fits any of these goes to the canary; none: from here on none does."
    )


SCALE_MESSAGE = "setCanaryScale has exactly one of replicas, weight and matchTrafficWeight: true"


class CanaryScale(ApiModel):
    """How many pods the canary has from here on: exactly one of its fields."""

    model_config = ConfigDict(
        **ApiModel.model_config,
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "[has(self.replicas), has(self.weight), has(self.matchTrafficWeight) && self.matchTrafficWeight]"
                    ".filter(given, given).size() == 1 && (!has(self.matchTrafficWeight) || self.matchTrafficWeight)",
                    SCALE_MESSAGE,
                )
            ]
        },
    )

    replicas: Annotated[int, Field(ge=1, le=1000)] | None = Field(default=None, description="This many pods.")
    weight: Percent | None = Field(
        default=None, description="Percent of the full scale, whatever the traffic; at least one pod."
    )
    match_traffic_weight: bool | None = Field(
        default=None, description="true: again as many as the traffic's weight asks for, as without this step."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = (self.replicas is not None, self.weight is not None, self.match_traffic_weight is True)
        if sum(given) != 1 or self.match_traffic_weight is False:
            raise ValueError(SCALE_MESSAGE)
        return self


STEP_MESSAGE = "a step has exactly one of setWeight, pause, setHeaderRoute and setCanaryScale"


class Step(ApiModel):
    """One step of a canary: exactly one of its fields."""

    model_config = ConfigDict(
        **ApiModel.model_config,
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "[has(self.setWeight), has(self.pause), has(self.setHeaderRoute), has(self.setCanaryScale)]"
                    ".filter(given, given).size() == 1",
                    STEP_MESSAGE,
                )
            ]
        },
    )

    set_weight: Percent | None = Field(
        default=None, description="Percent of the requests that the canary gets from here on; 0.1 and less is fine."
    )
    pause: Pause | None = Field(default=None, description="Wait at the current weight.")
    set_header_route: HeaderRoute | None = Field(
        default=None,
        description="Requests with a header go to the canary, whatever its weight, until the rollout ends; they are"
        " not judged, because who asks for the canary is no random sample.",
    )
    set_canary_scale: CanaryScale | None = Field(
        default=None, description="The canary's pods, from here on, by a number of their own."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = (self.set_weight, self.pause, self.set_header_route, self.set_canary_scale)
        if sum(field is not None for field in given) != 1:
            raise ValueError(STEP_MESSAGE)
        return self
