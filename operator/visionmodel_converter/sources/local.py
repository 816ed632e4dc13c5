"""`file:///path`: a file or folder of this machine, for conversions that a person runs; never in a Job."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.sources.claim import FolderOrigin
from visionmodel_converter.sources.origin import Access, Located


@contextmanager
def locate(uri: str, access: Access) -> Iterator[Located]:
    """Open the folder of a URI; links on the way to it are the user's own and are followed, links in it are not."""
    if not access.environment.allow_files:
        raise ConversionFailure(
            Reason.UNSUPPORTED_SOURCE, f"{uri}: files of the machine are read by `visionmodel-convert convert` only"
        )
    path = Path(unquote(urlsplit(uri).path))
    if path.is_dir():
        yield Located(FolderOrigin(path.resolve(), f"file://{path}/"), "", choose=not access.whole_folder)
        return
    yield Located(FolderOrigin(path.parent.resolve(), f"file://{path.parent}/"), path.name)
