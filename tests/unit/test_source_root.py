"""`operator/` is a source root; as a package it would shadow the standard library's operator module."""

import operator
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_source_root_is_no_package() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_the_standard_librarys_operator_wins() -> None:
    assert Path(str(operator.__file__)).parent == Path(sysconfig.get_paths()["stdlib"])
