"""Buckets and containers as sources: `s3://`, `gs://` and `abfs://`."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore

from visionmodel_converter.clouds.buckets import KINDS, Fault, Kind, Login, fault_of_error, open_bucket
from visionmodel_converter.clouds.credentials import MODEL_SECRET
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.sources.origin import CHUNK_BYTES, Access, Entry, Located, require_path, split_uri


@contextmanager
def locate(uri: str, access: Access) -> Iterator[Located]:
    """Open the bucket or container of a URI."""
    scheme = uri.partition("://")[0]
    kind = KINDS[scheme]
    authority, path = split_uri(uri)
    if not authority:
        raise ConversionFailure(Reason.BAD_REQUEST, f"{uri}: {kind.form}")
    path = require_path(uri, path, kind.form, access)
    store = open_bucket(scheme, authority, Login(access.environment), access.retry)
    yield Located(ObjectOrigin(store, f"{scheme}://{authority}", kind), path)


@dataclass(frozen=True, slots=True)
class ObjectOrigin:
    """One bucket or container."""

    store: ObjectStore
    root: str
    kind: Kind

    def shown(self, path: str) -> str:
        """Return the URI of an object."""
        return f"{self.root}/{path}"

    @contextmanager
    def read(self, path: str) -> Iterator[Iterable[bytes]]:
        """Stream an object."""
        yield self._chunks(path)

    def _chunks(self, path: str) -> Iterator[bytes]:
        with self._translated(path):
            for chunk in obstore.get(self.store, path).stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)

    def entries(self, folder: str) -> Iterator[Entry]:
        """List the objects below a prefix."""
        with self._translated(folder):
            for batch in obstore.list(self.store, folder or None, chunk_size=500):
                for item in batch:
                    name = item["path"].removeprefix(folder).removeprefix("/")
                    if name:
                        yield Entry(name, item["size"], item["e_tag"] or str(item["last_modified"]))

    @contextmanager
    def _translated(self, path: str) -> Iterator[None]:
        shown = self.shown(path)
        try:
            yield
        except (FileNotFoundError, BaseError) as error:
            raise self._failure(shown, error) from error

    def _failure(self, shown: str, error: Exception) -> ConversionFailure:
        fault, words = fault_of_error(error)
        if fault is Fault.ABSENT:
            where = self.kind.where.format(secret=MODEL_SECRET)
            return ConversionFailure(Reason.SOURCE_NOT_FOUND, f"{shown} was not found; check {where}")
        if fault is Fault.REFUSED:
            return ConversionFailure(
                Reason.SOURCE_FORBIDDEN,
                f"{shown}: access was refused; put {self.kind.keys} with read permission into {MODEL_SECRET}",
            )
        if fault is Fault.THROTTLED:
            return ConversionFailure(
                Reason.SOURCE_THROTTLED, f"{shown}: the store asks for fewer requests (HTTP 429); the Job tries again"
            )
        return ConversionFailure(
            Reason.SOURCE_UNAVAILABLE, f"{shown} could not be read, the Job tries again: {words[:300]}"
        )
