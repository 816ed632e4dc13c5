"""The second rule of a route, by which some requests reach the canary whatever its weight; as values, pure.

The gateway counts each rule by its index, and the judge reads the first rule only: those who ask for the canary
are no random sample, so they are neither in its evidence nor in stable's.

A rule comes and goes in two writes. Parked, it stands in the route and no request fits it: the gateway makes its
backend known before the first request, and forgets it after the last. In one write, a request may meet a backend
that is not there yet, or no more.
"""

from collections.abc import Sequence

from visionmodel_operator.api.spec import HeaderMatch
from visionmodel_operator.api.status import HeaderRouteStatus


def next_header_route(
    recorded: HeaderRouteStatus | None, revision: str, wanted: Sequence[HeaderMatch]
) -> HeaderRouteStatus | None:
    """Return what the next write says on the way to these headers; what is recorded, once they are reached."""
    if not wanted:
        return None if recorded is None or recorded.parked else parked(recorded)
    # A parked rule that is the wanted one was in the route before, so that its backend is known.
    known = recorded is not None and recorded.revision == revision
    return HeaderRouteStatus(revision=revision, match=list(wanted), parked=None if known else True)


def parked(recorded: HeaderRouteStatus | None) -> HeaderRouteStatus | None:
    """Return the rule with nobody to fit it; nothing where there is none."""
    return None if recorded is None else recorded.model_copy(update={"parked": True})


def in_words(matches: Sequence[HeaderMatch]) -> str:
    """Return the headers as people write them."""
    return " or ".join(f"{match.header_name}={match.header_value.exact}" for match in matches)
