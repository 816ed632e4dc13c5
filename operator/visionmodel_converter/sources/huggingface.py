"""Hugging Face repositories: `hf://<org>/<repo>[@<revision>]/<path>`, data as `hf://datasets/<org>/<repo>/...`.

Two documented calls of the Hub: the repository's info at a revision gives the commit and every file, `resolve` gives
a file at that commit. Through our own HTTP client and not huggingface_hub, for the reasons of ADR 0009.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import quote, unquote

from visionmodel_converter.clouds.credentials import credential, endpoint
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.sources.http import Client, login_of, open_client, refuse_status
from visionmodel_converter.sources.origin import Access, Entry, Located, require_path, split_uri

HUB: Final = "https://huggingface.co"
DEFAULT_REVISION: Final = "main"
FORM: Final = "a Hugging Face URI is hf://<org>/<repo>[@<revision>]/<path of one file>"
COMMIT: Final = re.compile(r"^[0-9a-f]{40}$")
PLAIN_NAME: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$")
ERROR_WORDS: Final[dict[str, tuple[Reason, str]]] = {
    "GatedRepo": (
        Reason.SOURCE_FORBIDDEN,
        "the repository is gated; accept its terms with the account whose HF_TOKEN is in the Secret of model.secretRef",
    ),
    "RepoNotFound": (
        Reason.SOURCE_NOT_FOUND,
        "there is no such repository, or it is private; check the name, and for a private one put an HF_TOKEN that may "
        "read it into the Secret of model.secretRef",
    ),
    "RevisionNotFound": (
        Reason.SOURCE_NOT_FOUND,
        "the repository has no such revision; name a branch, a tag or a commit behind '@'",
    ),
}
"""What the Hub's header X-Error-Code means; without it a private repository is a bare 401."""


@dataclass(frozen=True, slots=True)
class Repository:
    """What a URI names: `prefix` is `datasets/` for data and empty for models."""

    prefix: str
    name: str
    revision: str
    path: str

    @classmethod
    def parse(cls, uri: str, access: Access) -> Self:
        """Read a URI; raises BadRequest."""
        split_uri(uri)  # refuses a password
        rest = uri.partition("://")[2]
        prefix = "datasets/" if rest.startswith("datasets/") else ""
        organisation, repository, path = (*rest.removeprefix(prefix).split("/", 2), "", "")[:3]
        repository, _, revision = repository.partition("@")
        if not PLAIN_NAME.match(organisation) or not PLAIN_NAME.match(repository):
            raise ConversionFailure(Reason.BAD_REQUEST, f"{uri}: {FORM}")
        file = require_path(uri, unquote(path), FORM, access)
        return cls(prefix, f"{organisation}/{repository}", unquote(revision) or DEFAULT_REVISION, file)

    def api(self, hub: str) -> str:
        """Return the URL of the repository's info at the revision."""
        kind = self.prefix or "models/"
        return f"{hub}/api/{kind}{self.name}/revision/{quote(self.revision, safe='')}"


@contextmanager
def locate(uri: str, access: Access) -> Iterator[Located]:
    """Resolve the revision to a commit and open the repository there."""
    wanted = Repository.parse(uri, access)
    folder = access.environment.source_credentials
    hub = endpoint(folder, "HF_ENDPOINT", uri, environment=access.environment) or HUB
    login = login_of(None, None, credential(folder, "HF_TOKEN"))
    with open_client(access.environment, shown=uri, keys="HF_TOKEN", login=login) as client:
        yield Located(_origin(client, hub.rstrip("/"), wanted), wanted.path)


def _origin(client: Client, hub: str, wanted: Repository) -> "HubOrigin":
    response, body = client.answer(wanted.api(hub), blobs="true")
    reason, words = ERROR_WORDS.get(response.headers.get("X-Error-Code", ""), (None, ""))
    if reason is not None:
        raise ConversionFailure(reason, f"{client.shown}: {words}")
    refuse_status(client.shown, response.status_code, client.keys)
    document = client.parsed(body)
    commit, files = document.get("sha"), document.get("siblings")
    if not isinstance(commit, str) or not COMMIT.match(commit) or not isinstance(files, list):
        raise ConversionFailure(
            Reason.UNSUPPORTED_SOURCE,
            f"{client.shown}: the hub does not tell commit and files of the repository; check HF_ENDPOINT in the "
            "Secret of model.secretRef",
        )
    entries = tuple(Entry(str(file.get("rfilename")), file.get("size")) for file in files)
    return HubOrigin(client, f"{hub}/{wanted.prefix}{wanted.name}", f"{wanted.prefix}{wanted.name}", commit, entries)


@dataclass(frozen=True, slots=True)
class HubOrigin:
    """One repository at one commit: nothing in it can change any more."""

    client: Client
    url: str
    name: str
    commit: str
    files: tuple[Entry, ...]

    def shown(self, path: str) -> str:
        """Return the URI with the commit in place of the branch or tag."""
        return f"hf://{self.name}@{self.commit}/{path}"

    @contextmanager
    def read(self, path: str) -> Iterator[Iterable[bytes]]:
        """Stream a file, from wherever the Hub keeps it."""
        with self.client.stream(f"{self.url}/resolve/{self.commit}/{quote(path)}", self.shown(path)) as chunks:
            yield chunks

    def entries(self, folder: str) -> Iterator[Entry]:
        """Return the files that the repository's info named."""
        start = f"{folder}/" if folder else ""
        for file in self.files:
            if file.name.startswith(start):
                yield Entry(file.name.removeprefix(start), file.size_bytes)
