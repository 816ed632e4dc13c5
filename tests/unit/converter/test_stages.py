"""Which stages are left after the look-up, and that progress never falls."""

from itertools import pairwise, product

import pytest

from visionmodel_converter.stages import FIRST_STAGES, STARTS_AT, Stage, stages_after_lookup

CHECK, SIMPLIFY, PARITY, GATE, PUBLISH = (
    Stage.CHECK,
    Stage.SIMPLIFY,
    Stage.PARITY,
    Stage.GATE,
    Stage.PUBLISH,
)


@pytest.mark.parametrize(
    ("published", "gate_passed", "simplify", "stages"),
    [
        (False, False, True, (CHECK, SIMPLIFY, PARITY, GATE, PUBLISH)),
        (False, False, False, (CHECK, PARITY, GATE, PUBLISH)),
        (False, True, True, (CHECK, SIMPLIFY, PARITY, GATE, PUBLISH)),
        (True, False, True, (CHECK, PARITY, GATE)),
        (True, True, True, ()),
    ],
    ids=["new", "new-unsimplified", "verdict-without-artifact", "changed-goals", "all-known"],
)
def test_plan(published: bool, gate_passed: bool, simplify: bool, stages: tuple[Stage, ...]) -> None:
    assert stages_after_lookup(published=published, gate_passed=gate_passed, simplify=simplify) == stages


def test_other_formats_are_loaded_whenever_their_graph_is_needed() -> None:
    for published, passed, simplify in product((True, False), repeat=3):
        plain = stages_after_lookup(published=published, gate_passed=passed, simplify=simplify)
        loaded = stages_after_lookup(published=published, gate_passed=passed, simplify=simplify, is_onnx=False)
        assert loaded == ((Stage.LOAD, *plain) if CHECK in plain else ())


def test_pruning_follows_simplifying_and_exports_what_is_published() -> None:
    made = stages_after_lookup(published=False, gate_passed=False, simplify=True, prunes=True, exports=True)
    assert made == (CHECK, SIMPLIFY, Stage.PRUNE, PARITY, GATE, PUBLISH, Stage.EXPORT)
    found = stages_after_lookup(published=True, gate_passed=False, simplify=True, prunes=True, exports=True)
    assert found == (CHECK, PARITY, GATE, Stage.EXPORT)
    assert stages_after_lookup(published=True, gate_passed=True, simplify=True, prunes=True, exports=True) == ()


def test_every_plan_rises_and_judges_before_it_publishes() -> None:
    switches = ("published", "gate_passed", "simplify", "is_onnx", "prunes", "exports")
    for values in product((True, False), repeat=len(switches)):
        plan = (*FIRST_STAGES, *stages_after_lookup(**dict(zip(switches, values, strict=True))))
        assert all(STARTS_AT[earlier] < STARTS_AT[later] for earlier, later in pairwise(plan))
        assert PUBLISH not in plan or plan.index(GATE) < plan.index(PUBLISH)
