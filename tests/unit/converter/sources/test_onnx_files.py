"""Models of several files, from a claim: folded into one, or refused with the tensor's name."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest
from onnx import ModelProto, TensorProto

from unit.converter import tiny_models
from unit.converter.sources import hostile_archives
from unit.converter.sources.answers import Answer, Asked, serving
from visionmodel_converter.environment import environment_from
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.sources.fetch import Fetched
from visionmodel_converter.sources.onnx_files import external_references, fetch_onnx

PLAIN = tiny_models.to_bytes(tiny_models.classifier())
WEIGHTS = tiny_models.weights().tobytes()
BIAS = tiny_models.classifier().graph.initializer[1].raw_data
DATA = b"\0" * 64 + WEIGHTS + BIAS


def split(**changes: dict[str, str]) -> ModelProto:
    """The classifier with `w` and `b` in `m.data`, at offset 64 and behind; `changes` edits a tensor's entries."""
    model = tiny_models.classifier()
    offset = 64
    for tensor in model.graph.initializer:
        entries = {"location": "m.data", "offset": str(offset), "length": str(len(tensor.raw_data))}
        offset += len(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (entries | changes.get(tensor.name, {})).items():
            tensor.external_data.add(key=key, value=value)
    return model


def fetched(
    folder: Path, name: str, files: dict[str, bytes], *, max_bytes: int = 10**6, digest: str | None = None
) -> Fetched:
    claim = folder / "pvc" / "c"
    claim.mkdir(parents=True, exist_ok=True)
    (folder / "work").mkdir(exist_ok=True)
    for path, data in files.items():
        (claim / path).parent.mkdir(parents=True, exist_ok=True)
        (claim / path).write_bytes(data)
    return fetch_onnx(
        f"pvc://c/{name}",
        folder / "work",
        environment=environment_from({"VISIONMODEL_PVC_ROOT": str(folder / "pvc")}),
        max_bytes=max_bytes,
        expected_digest=digest,
    )


def refusal(run: Callable[[], object]) -> ConversionFailure:
    with pytest.raises(ConversionFailure) as caught:
        run()
    return caught.value


def sha256sum(files: dict[str, bytes]) -> str:
    """What `sha256sum <names in order> | sha256sum` prints."""
    lines = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return "sha256:" + hashlib.sha256(lines.encode()).hexdigest()


def test_weights_beside_the_model_are_folded_into_it(tmp_path: Path) -> None:
    files = {"m.onnx": tiny_models.to_bytes(split()), "m.data": DATA}
    model = fetched(tmp_path, "m.onnx", files)
    assert onnx.load(model.path) == tiny_models.classifier()
    assert model.path.read_bytes() == PLAIN
    assert (model.digest, model.size_bytes, model.uri) == (sha256sum(files), len(PLAIN), "pvc://c/m.onnx")
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["source.onnx"]


def test_weights_in_a_folder_below_and_over_several_files(tmp_path: Path) -> None:
    model = split(w={"location": "data/w.bin", "offset": "0"}, b={"location": "data/b.bin", "offset": "0"})
    files = {"v1/m.onnx": tiny_models.to_bytes(model), "v1/data/w.bin": WEIGHTS, "v1/data/b.bin": BIAS}
    done = fetched(tmp_path, "v1/m.onnx", files)
    assert done.path.read_bytes() == PLAIN
    assert done.digest == sha256sum({name.removeprefix("v1/"): data for name, data in files.items()})


def test_without_offset_and_length_the_shape_says_how_much_is_read(tmp_path: Path) -> None:
    model = split(w={"location": "w.bin", "offset": "0"}, b={"location": "b.bin", "offset": "0"})
    for tensor in model.graph.initializer:
        del tensor.external_data[1:]
    files = {"m.onnx": tiny_models.to_bytes(model), "w.bin": WEIGHTS + b"rest", "b.bin": BIAS}
    done = fetched(tmp_path, "m.onnx", files)
    assert done.path.read_bytes() == PLAIN


def test_one_file_keeps_its_own_digest(tmp_path: Path) -> None:
    digest = "sha256:" + hashlib.sha256(PLAIN).hexdigest()
    assert fetched(tmp_path, "m.onnx", {"m.onnx": PLAIN}, digest=digest).digest == digest


def test_the_digest_of_the_model_file_alone_does_not_pin_its_weights(tmp_path: Path) -> None:
    files = {"m.onnx": tiny_models.to_bytes(split()), "m.data": DATA}
    alone = "sha256:" + hashlib.sha256(files["m.onnx"]).hexdigest()
    failure = refusal(lambda: fetched(tmp_path, "m.onnx", files, digest=alone))
    assert (failure.reason, sha256sum(files) in failure.message) == (Reason.DIGEST_MISMATCH, True)
    assert fetched(tmp_path, "m.onnx", files, digest=sha256sum(files)).digest == sha256sum(files)


@pytest.mark.parametrize("name", ["m.zip", "m.tar", "m.tar.gz", "m.tgz"])
def test_archives(tmp_path: Path, name: str) -> None:
    files = [("det/m.onnx", tiny_models.to_bytes(split())), ("det/m.data", DATA), ("README", b""), ("._m.onnx", b"mac")]
    data = (
        hostile_archives.zip_of(files)
        if name.endswith("zip")
        else hostile_archives.tar_of(files, packed=not name.endswith("tar"))
    )
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    model = fetched(tmp_path, name, {name: data}, digest=digest)
    assert (model.path.read_bytes(), model.digest, model.uri) == (PLAIN, digest, f"pvc://c/{name}#det/m.onnx")
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["source.onnx"]


@pytest.mark.parametrize("names", [[], ["a.onnx", "b/b.onnx"]], ids=["no-model", "two-models"])
def test_an_archive_must_hold_one_model(tmp_path: Path, names: list[str]) -> None:
    data = hostile_archives.zip_of([("README", b""), *((name, PLAIN) for name in names)])
    failure = refusal(lambda: fetched(tmp_path, "m.zip", {"m.zip": data}))
    assert failure.reason is Reason.AMBIGUOUS_SOURCE
    assert f"pvc://c/m.zip holds {len(names)} ONNX models" in failure.message


def test_an_archive_of_another_digest_is_not_unpacked(tmp_path: Path) -> None:
    failure = refusal(lambda: fetched(tmp_path, "m.zip", {"m.zip": b"no zip"}, digest="sha256:" + "0" * 64))
    assert failure.reason is Reason.DIGEST_MISMATCH


@dataclass(frozen=True)
class Bad:
    name: str
    model: ModelProto
    says: tuple[str, ...]
    reason: Reason = Reason.EXTERNAL_DATA
    data: bytes | None = DATA


def stated_twice() -> ModelProto:
    model = split()
    model.graph.initializer[0].external_data.add(key="location", value="other.data")
    return model


def inside_and_outside() -> ModelProto:
    model = split()
    model.graph.initializer[0].raw_data = WEIGHTS
    return model


def of_strings() -> ModelProto:
    model = split()
    model.graph.initializer[0].data_type = TensorProto.STRING
    return model


def expanding() -> ModelProto:
    """Ten thousand tensors that all read the same bytes: small on disk, large in memory."""
    model = split()
    for index in range(30000):
        model.graph.initializer.add().CopyFrom(model.graph.initializer[0])
        model.graph.initializer[-1].name = f"w{index}"
    return model


BAD = [
    Bad("traversal", split(w={"location": "../m.data"}), ("'w'", "'../m.data'", "leads out", "single file")),
    Bad("absolute", split(w={"location": "/etc/passwd"}), ("'w'", "is absolute")),
    Bad("empty-name", split(w={"location": ""}), ("'w'", "is empty")),
    Bad("url", split(b={"location": "https://evil.example/w"}), ("'b'", "empty or '.' part")),
    Bad("hidden-traversal", split(w={"location": "a/./../../m"}), ("'..'",)),
    Bad("the-model-itself", split(w={"location": "m.onnx"}), ("'w'", "the model itself")),
    Bad("file-and-folder", split(b={"location": "m.data/b"}), ("a folder of another",)),
    Bad("stated-twice", stated_twice(), ("'w'", "twice")),
    Bad("inside-and-outside", inside_and_outside(), ("'w'", "in the model too")),
    Bad("of-strings", of_strings(), ("'w'", "shape need None")),
    Bad("negative-offset", split(w={"offset": "-1"}), ("'w'", "no number")),
    Bad("huge-offset", split(w={"offset": "9" * 30}), ("'w'", "no number")),
    Bad(
        "offset-behind-the-end",
        split(w={"offset": "100000"}),
        ("'w'", "100000 to 100048", "has 124"),
        reason=Reason.EXTERNAL_DATA_SHORT,
    ),
    Bad("wrong-length", split(w={"length": "47"}), ("'w'", "length of 47", "need 48")),
    Bad("short-file", split(), ("'b'", "112 to 124", "has 120"), data=DATA[:120], reason=Reason.EXTERNAL_DATA_SHORT),
    Bad("missing", split(), ("'w'", "'m.data'", "was not found"), Reason.SOURCE_NOT_FOUND, None),
    Bad("expanding", expanding(), ("needs", "other file(s)"), Reason.SOURCE_TOO_LARGE),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_refused(tmp_path: Path, bad: Bad) -> None:
    files = {"m.onnx": tiny_models.to_bytes(bad.model)} | ({} if bad.data is None else {"m.data": bad.data})
    failure = refusal(lambda: fetched(tmp_path, "m.onnx", files, max_bytes=3_000_000))
    assert (failure.reason, [words for words in bad.says if words not in failure.message]) == (bad.reason, []), (
        failure.message
    )
    assert failure.message.startswith("pvc://c/m.onnx")


def test_a_link_beside_the_model_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(DATA)
    (tmp_path / "pvc" / "c").mkdir(parents=True)
    (tmp_path / "pvc" / "c" / "m.data").symlink_to(tmp_path / "outside")
    failure = refusal(lambda: fetched(tmp_path, "m.onnx", {"m.onnx": tiny_models.to_bytes(split())}))
    assert (failure.reason, "symbolic link" in failure.message) == (Reason.UNSAFE_PATH, True)


def test_all_files_count_against_one_limit(tmp_path: Path) -> None:
    files = {"m.onnx": tiny_models.to_bytes(split()), "m.data": DATA + bytes(1000)}
    total = sum(len(data) for data in files.values())
    assert fetched(tmp_path, "m.onnx", files, max_bytes=total).path.read_bytes() == PLAIN
    failure = refusal(lambda: fetched(tmp_path, "m.onnx", files, max_bytes=total - 1))
    assert failure.reason is Reason.SOURCE_TOO_LARGE


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/v1/m.onnx", None),
        ("/v1/m.onnx?X-Signature=s3cret", Reason.EXTERNAL_DATA),
        ("/v2/m.onnx", Reason.SOURCE_NOT_FOUND),
    ],
    ids=["plain", "signed", "no-weights"],
)
def test_weights_beside_a_url(tmp_path: Path, path: str, reason: Reason | None) -> None:
    files = {
        "/v1/m.onnx": tiny_models.to_bytes(split()),
        "/v1/m.data": DATA,
        "/v2/m.onnx": tiny_models.to_bytes(split()),
    }

    def answer(request: Asked) -> Answer:
        data = files.get(request.path.partition("?")[0])
        return Answer(404) if data is None else Answer(200, data)

    environment = environment_from({"VISIONMODEL_ALLOW_HTTP": "true"})
    with serving(answer) as server:
        if reason is None:
            model = fetch_onnx(server.url + path, tmp_path, environment=environment, max_bytes=10**6)
            assert model.path.read_bytes() == PLAIN
            return
        failure = refusal(lambda: fetch_onnx(server.url + path, tmp_path, environment=environment, max_bytes=10**6))
    assert (failure.reason, "s3cret" in failure.message) == (reason, False), failure.message


@pytest.mark.parametrize("data", [b"", b"<html>", b"location", PLAIN[:-10] + b"location", PLAIN])
def test_what_is_no_model_is_left_to_the_check(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m").write_bytes(data)
    assert external_references(tmp_path / "m", "m") == ()
