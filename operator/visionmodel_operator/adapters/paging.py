"""Lists of the API server that may be long, read page by page."""

from collections.abc import AsyncIterator, Mapping

from visionmodel_operator.adapters.connection import Connection
from visionmodel_operator.adapters.reading import Raw, field_of
from visionmodel_operator.adapters.resources import collection_path
from visionmodel_operator.errors import Retry

PAGE = "500"


async def pages_of(
    connection: Connection,
    api_version: str,
    kind: str,
    namespace: str | None,
    query: Mapping[str, str] | None = None,
    accept: str = "application/json",
) -> AsyncIterator[Raw]:
    """Yield every object of a kind, of all namespaces when that is None. Raises Retry when not all could be read."""
    path, token = collection_path(api_version, kind, namespace), ""
    while True:
        page = {**(query or {}), "limit": PAGE, **({"continue": token} if token else {})}
        answer = await connection.request("GET", path, query=page, accept=accept, allow=(410,))
        if answer.status == 410:
            raise Retry(f"the list of {kind} took too long to read")
        for item in answer.body.get("items") or []:
            yield item
        token = field_of(answer.body, "metadata", "continue", default="")
        if not token:
            return
