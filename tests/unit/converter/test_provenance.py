"""Provenance statements: who may read them must not learn what signs an address."""

import pytest

from visionmodel_converter.provenance import shown_command

SIGNED = "https://models.example/net.onnx?signature=secret"
SHOWN = "https://models.example/net.onnx"


@pytest.mark.parametrize(
    ("argument", "shown"),
    [
        (SIGNED, SHOWN),
        (f"--dataset={SIGNED}", f"--dataset={SHOWN}"),
        ("s3://user:word@bucket/net.onnx", "s3://bucket/net.onnx"),
        ("--goal=map50:max-degradation:0.01", "--goal=map50:max-degradation:0.01"),
        ("--precision", "--precision"),
        ("model.onnx?", "model.onnx?"),
    ],
)
def test_addresses_are_shown_without_what_signs_them(argument: str, shown: str) -> None:
    assert shown_command(["visionmodel-convert", argument]) == ["visionmodel-convert", shown]
