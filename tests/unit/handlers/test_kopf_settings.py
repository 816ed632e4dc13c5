import itertools

import pytest

from visionmodel_operator.handlers.kopf_settings import EndlessBackoffs, kopf_settings


def test_settings_are_those_of_the_design() -> None:
    settings = kopf_settings((1, 36))
    watching, networking = settings.watching, settings.networking
    assert {
        "scanning": settings.scanning.disabled,
        "posting": settings.posting.enabled,
        "standalone": settings.peering.standalone,
        "chunk": watching.chunk_size,
        "timeouts": (watching.server_timeout, watching.client_timeout, watching.connect_timeout),
        "inactivity": (watching.inactivity_timeout, watching.reconnect_backoff),
        "queueing": (settings.queueing.worker_limit, settings.queueing.idle_timeout),
        "networking": (networking.request_timeout, networking.connect_timeout),
        "exit": settings.process.ultimate_exiting_timeout,
        "finalizer": settings.persistence.finalizer,
    } == {
        "scanning": True,
        "posting": False,
        "standalone": True,
        "chunk": None,
        "timeouts": (300, 330, 10),
        "inactivity": (70.0, 1.0),
        "queueing": (None, 0.5),
        "networking": (30, 5),
        "exit": 25,
        "finalizer": "visionmodel.dev/finalizer",
    }
    assert set(watching.label_selectors.values()) == {"app.kubernetes.io/managed-by=visionmodel-operator"}


@pytest.mark.parametrize(("version", "streams"), [((1, 33), False), ((1, 34), True), ((2, 0), True)])
def test_lists_are_streamed_where_the_server_can(version: tuple[int, int], streams: bool) -> None:
    assert kopf_settings(version).watching.initial_streaming is streams


def test_backoffs_never_end_and_can_be_used_again() -> None:
    backoffs = EndlessBackoffs()
    first, second = (list(itertools.islice(backoffs, 8)) for _ in range(2))
    assert first == second == [1, 2, 4, 8, 15, 30, 30, 30]
