"""An OCI registry in memory: what a client of the distribution API can tell from a real one."""

import hashlib
import json
import re
from dataclasses import dataclass, field

import httpx

PATH = re.compile(r"/v2/(?P<name>.+?)/(?P<kind>manifests|blobs|tags|uploads)/(?P<reference>.*)")


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class FakeRegistry:
    """One repository. A manifest may only name blobs that are there."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    allows_deletion: bool = True
    moves_tags: bool = True

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        found = PATH.fullmatch(request.url.path.replace("/blobs/uploads/", "/uploads/"))
        assert found is not None, request.url
        body = request.read()
        match found["kind"], request.method:
            case "tags", "GET":
                return httpx.Response(200, json={"name": found["name"], "tags": sorted(self.tags) or None})
            case "uploads", "POST":
                return httpx.Response(202, headers={"Location": f"/v2/{found['name']}/blobs/uploads/1"})
            case "uploads", "PUT":
                return self._upload(request.url.params["digest"], body)
            case "blobs", _:
                return self._found(self.blobs.get(found["reference"]))
            case _, "GET":
                return self._found(self.manifests.get(self._digest(found["reference"])))
            case _, "PUT":
                return self._put(found["reference"], body)
            case _:
                return self._delete(found["reference"])

    def _digest(self, reference: str) -> str:
        return self.tags.get(reference, reference)

    def _found(self, data: bytes | None) -> httpx.Response:
        return httpx.Response(404) if data is None else httpx.Response(200, content=data)

    def _upload(self, digest: str, data: bytes) -> httpx.Response:
        if digest_of(data) != digest:
            return httpx.Response(400)
        self.blobs[digest] = data
        return httpx.Response(201)

    def _put(self, reference: str, data: bytes) -> httpx.Response:
        document = json.loads(data)
        if any(part["digest"] not in self.blobs for part in (document["config"], *document["layers"])):
            return httpx.Response(400)
        digest = digest_of(data)
        if not self.moves_tags and self.tags.get(reference, digest) != digest:
            return httpx.Response(409)
        self.manifests[digest] = data
        if reference != digest:
            self.tags[reference] = digest
        return httpx.Response(201)

    def _delete(self, digest: str) -> httpx.Response:
        if not self.allows_deletion:
            return httpx.Response(405)
        if self.manifests.pop(digest, None) is None:
            return httpx.Response(404)
        self.tags = {tag: one for tag, one in self.tags.items() if one != digest}
        return httpx.Response(202)
