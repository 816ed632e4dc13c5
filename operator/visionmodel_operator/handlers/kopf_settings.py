"""kopf's settings: a plain stream of events, bounded waits, and no state on objects."""

import itertools
from collections.abc import Iterator

import kopf

from visionmodel_operator.api.base import GROUP
from visionmodel_operator.core.names import GRPC_ROUTE, HTTP_ROUTE, LABEL_MANAGED_BY, MANAGED_BY

SERVER_SECONDS, CLIENT_SECONDS, CONNECT_SECONDS = 300, 330, 10
FIRST_SERVER_WITH_STREAMED_LISTS = (1, 34)
CHILD_SELECTOR = f"{LABEL_MANAGED_BY}={MANAGED_BY}"
CHILDREN = (("apps", "v1", "deployments"), ("batch", "v1", "jobs"))
GATEWAY_API = ("gateway.networking.k8s.io", "v1")
ROUTES = {HTTP_ROUTE: (*GATEWAY_API, "httproutes"), GRPC_ROUTE: (*GATEWAY_API, "grpcroutes")}


class EndlessBackoffs:
    """Seconds between tries of a request that was refused: an API upgrade must not end the process.

    A fresh iterator each time, since a generator would be used up by the first request that needs it.
    """

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((1, 2, 4, 8, 15), itertools.repeat(30))


def kopf_settings(server_version: tuple[int, int]) -> kopf.OperatorSettings:
    """Return the settings for an API server of this version."""
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.watching.initial_streaming = server_version >= FIRST_SERVER_WITH_STREAMED_LISTS
    settings.watching.chunk_size = None  # an expired continue token is fatal
    settings.watching.server_timeout = SERVER_SECONDS
    settings.watching.client_timeout = CLIENT_SECONDS
    settings.watching.connect_timeout = CONNECT_SECONDS
    settings.watching.reconnect_backoff = 1.0
    for group, _, plural in (*CHILDREN, *ROUTES.values()):
        settings.watching.label_selectors[group, plural] = CHILD_SELECTOR
    settings.queueing.worker_limit = None
    settings.queueing.idle_timeout = 0.5
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = EndlessBackoffs()
    settings.execution.max_workers = 2
    settings.persistence.finalizer = f"{GROUP}/finalizer"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP, v1=False)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=GROUP, v1=False)
    settings.process.ultimate_exiting_timeout = 25
    return settings
