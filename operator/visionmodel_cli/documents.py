"""VisionModels in YAML or JSON files, read as kubectl reads them, but for what is surely a mistake."""

import sys
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from visionmodel_cli.failures import Failure
from visionmodel_operator.api.base import API_VERSION, GROUP, KIND

STANDARD_INPUT: Final = Path("-")
TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"


@dataclass(frozen=True)
class Document:
    """One VisionModel and where it stands: file, and number of the YAML document from 1."""

    file: str
    number: int
    body: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The object's name as far as there is one."""
        metadata = self.body.get("metadata")
        name = metadata.get("name") if isinstance(metadata, Mapping) else None
        return name if isinstance(name, str) else ""

    @property
    def where(self) -> str:
        """The place for people."""
        return f"{self.file}, document {self.number}" + (f" ({self.name})" if self.name else "")


class _Loader(yaml.SafeLoader):
    """Refuses a key that is written twice, of which the last would win, and leaves dates the texts that they are."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (so it is named in the library)
        first: [(tag, pattern) for tag, pattern in resolvers if tag != TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is there twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def documents_in(files: Iterable[Path]) -> tuple[Document, ...]:
    """Return every VisionModel of the files; objects of other kinds are passed over.

    Raises:
        Failure: a file cannot be read, is no YAML, or none of them has a VisionModel.
    """
    files = tuple(files)
    found = tuple(document for file in files for document in _visionmodels(file))
    if not found:
        raise Failure(f"no {KIND} of {GROUP} in {', '.join(map(str, files))}")
    return found


def _visionmodels(file: Path) -> Iterator[Document]:
    try:
        text = sys.stdin.read() if file == STANDARD_INPUT else file.read_text(encoding="utf-8")
        bodies = list(yaml.load_all(text, Loader=_Loader))
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Failure(f"{file} is no YAML: {error}") from error
    for number, body in enumerate(bodies, start=1):
        for one in _items(body):
            if _is_visionmodel(one):
                yield Document(str(file), number, one)


def _items(body: Any) -> Iterable[Any]:
    is_list = isinstance(body, Mapping) and body.get("kind") in ("List", f"{KIND}List")
    return (body.get("items") or ()) if is_list else (body,)


def _is_visionmodel(body: Any) -> bool:
    """Return whether it is meant to be one: a wrong version of ours is for the check to say."""
    if not isinstance(body, Mapping) or body.get("kind") != KIND:
        return False
    version = body.get("apiVersion")
    return version == API_VERSION or not isinstance(version, str) or version.partition("/")[0] in ("", GROUP)
