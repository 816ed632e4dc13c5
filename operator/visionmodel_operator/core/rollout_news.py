"""What people are told about a rollout beside its phases: once each, because it is recorded once."""

from visionmodel_operator.api.capacity import CapacityChoice
from visionmodel_operator.api.conditions import Reason
from visionmodel_operator.api.status import RolloutStatus
from visionmodel_operator.core.operations import Event


def rollout_news(before: RolloutStatus | None, after: RolloutStatus | None) -> tuple[Event, ...]:
    """Return the events that a pass gives cause for."""
    if after is None:
        return ()
    events: list[Event] = []
    known = before if before is not None and before.revision == after.revision else None
    was_forecast = known is not None and known.forecast is not None
    if after.forecast is not None and after.forecast.blind_spot is not None and not was_forecast:
        events.append(Event(Reason.ROLLOUT_CANNOT_DETECT, after.forecast.blind_spot, warning=True))
    chosen, choice = after.capacity, known.capacity if known is not None else None
    is_new = chosen is not None and (choice is None or choice.choice is not chosen.choice)
    if chosen is not None and is_new and chosen.choice is CapacityChoice.SHRINK_BY_ONE:
        events.append(Event(Reason.SHRINK_BY_ONE, chosen.message, warning=False))
    return tuple(events)
