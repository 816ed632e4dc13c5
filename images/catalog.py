"""The images of this repository: what each is made of, and by which target of which Dockerfile."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIP_LOCK = Path("images/pip.txt")


@dataclass(frozen=True)
class ImageSource:
    """What an image is made of; paths are relative to the repository's root.

    Attributes:
        layers: further locks, whose packages the Dockerfile adds in targets of their own; the last names the image.
        extra: optional dependencies of the distribution, with a lock in the place of the plain one.
        is_large: gigabytes, of which only the image itself is kept: no layers of the build, no archive in the cache.
    """

    name: str
    inputs: tuple[str, ...]
    target: str = ""
    layers: tuple[str, ...] = ()
    extra: str = ""
    is_large: bool = False

    @property
    def folder(self) -> Path:
        """Folder of the Dockerfile; an image with one layer or extra more is built by the same file."""
        more = self.layers[-1] if self.layers else self.extra
        return Path("images") / self.name.removesuffix(f"-{more}")

    @property
    def dockerfile(self) -> Path:
        """The Dockerfile; the list of ignored files beside it is named after it, as BuildKit expects."""
        return self.folder / "Dockerfile"

    @property
    def locks(self) -> tuple[Path, ...]:
        """The hashed requirements; the vendor's image needs none of the server's."""
        own = "triton-vendor" if self.target == "vendor" else self.name if self.extra else self.folder.name
        return tuple(Path("requirements") / f"{name}.txt" for name in (own, *self.layers))

    @property
    def repository(self) -> str:
        """The image's name without registry and tag."""
        return f"visionmodel-{self.name}"


_SOURCES_SCRIPT = "images/install_sources.sh"
_OPENVINO_LAYER = ("requirements/openvino.txt", "images/add_packages.sh")
_OTHER_ENVIRONMENTS = ("requirements/tflite.txt", "requirements/modelopt.txt")
_CONVERTER = (
    "operator/visionmodel_contract",
    "operator/visionmodel_converter",
    "operator/visionmodel_pipeline",
    _SOURCES_SCRIPT,
    *_OPENVINO_LAYER,
    *_OTHER_ENVIRONMENTS,
    "requirements/tensorrt.txt",
)
_TRITON = ("operator/visionmodel_pipeline", "requirements/triton-vendor.txt", _SOURCES_SCRIPT, *_OPENVINO_LAYER)
IMAGES: Mapping[str, ImageSource] = {
    image.name: image
    for image in (
        ImageSource("operator", ("operator/visionmodel_contract", "operator/visionmodel_operator", _SOURCES_SCRIPT)),
        ImageSource("converter", _CONVERTER, target="onnx"),
        ImageSource("converter-openvino", _CONVERTER, target="openvino", layers=("openvino",)),
        ImageSource("converter-tensorrt", _CONVERTER, target="tensorrt", layers=("tensorrt",)),
        *(
            ImageSource(f"converter-{tool}", _CONVERTER, target=tool, layers=("openvino", tool), is_large=True)
            for tool in ("tflite", "modelopt")
        ),
        *(
            ImageSource(f"converter-{extra}", _CONVERTER, target="onnx", extra=extra, is_large=True)
            for extra in ("torch", "tensorflow")
        ),
        ImageSource("triton", _TRITON, target="wheel"),
        ImageSource("triton-openvino", _TRITON, target="wheel-openvino", layers=("openvino",)),
    )
}
STANDARD = tuple(name for name, image in IMAGES.items() if not (image.layers or image.extra))
"""What an installation needs; the others have an optional runtime or gigabytes of frameworks more."""
