"""Annotations: what counts, what does not, and that each acts once."""

import pytest

from visionmodel_operator.core.requests import Requests, may_serve, remember, requests_for

MINE, ATTEMPT = "91be04c7aa", 2
PREFIX = "visionmodel.dev/"

CASES: dict[str, tuple[dict[str, str], Requests]] = {
    "nothing": ({}, Requests()),
    "promote-in-full": (
        {"promote": "91be04c7aa/2"},
        Requests(promote_full=True, consumed=("promote=91be04c7aa/2",)),
    ),
    "promote-a-step": (
        {"promote": "91be04c7aa/2/3"},
        Requests(promote_step=3, consumed=("promote=91be04c7aa/2/3",)),
    ),
    "abort": ({"abort": "91be04c7aa/2"}, Requests(abort=True, consumed=("abort=91be04c7aa/2",))),
    "retry": ({"retry": "91be04c7aa/2"}, Requests(retry=True, consumed=("retry=91be04c7aa/2",))),
    "pause": ({"pause": "true"}, Requests(pause=True)),
    "pause-says-no": ({"pause": "yes"}, Requests()),
    "another-attempt": ({"promote": "91be04c7aa/1", "abort": "91be04c7aa/3"}, Requests()),
    "another-revision": ({"abort": "7c9f2a41d0/2", "retry": "7c9f2a41d0/2"}, Requests()),
    "without-attempt": ({"promote": "91be04c7aa", "abort": "91be04c7aa"}, Requests()),
    "step-is-no-number": ({"promote": "91be04c7aa/2/x"}, Requests()),
    "step-is-a-superscript": ({"promote": "91be04c7aa/2/²"}, Requests()),
    "step-is-endless": ({"promote": "91be04c7aa/2/" + "9" * 5000}, Requests()),
    "step-is-negative": ({"promote": "91be04c7aa/2/-1"}, Requests()),
    "abort-of-a-step": ({"abort": "91be04c7aa/2/1"}, Requests()),
    "only-what-is-meant-is-consumed": (
        {"abort": "91be04c7aa/2", "promote": "7c9f2a41d0/1", "retry": "91be04c7aa/1"},
        Requests(abort=True, consumed=("abort=91be04c7aa/2",)),
    ),
}


@pytest.mark.parametrize(("annotations", "expected"), CASES.values(), ids=CASES.keys())
def test_requests_for_one_attempt(annotations: dict[str, str], expected: Requests) -> None:
    written = {PREFIX + verb: value for verb, value in annotations.items()}
    assert requests_for(written, MINE, ATTEMPT, []) == expected


@pytest.mark.parametrize("verb", ["promote", "abort", "retry"])
def test_what_was_acted_on_is_over(verb: str) -> None:
    annotations = {PREFIX + verb: "91be04c7aa/2"}
    consumed = remember([], requests_for(annotations, MINE, ATTEMPT, []), verb)
    assert consumed == [f"{verb}=91be04c7aa/2"]
    assert requests_for(annotations, MINE, ATTEMPT, consumed) == Requests()


@pytest.mark.parametrize(
    ("consumed", "expected"),
    [
        pytest.param("promote=91be04c7aa/2/0", True, id="to serve"),
        pytest.param("promote=91be04c7aa/2", True, id="in full, by an operator that consumed it for that"),
        pytest.param("promote=91be04c7aa/2/1", False, id="only a step"),
        pytest.param("promote=91be04c7aa/1/0", False, id="an attempt before"),
        pytest.param("abort=91be04c7aa/2", False, id="something else"),
    ],
)
def test_that_an_attempt_may_serve_is_remembered(consumed: str, expected: bool) -> None:
    assert may_serve([consumed], Requests(), MINE, ATTEMPT) is expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [(Requests(promote_full=True), True), (Requests(promote_step=0), True), (Requests(promote_step=1), False)],
)
def test_an_attempt_may_serve_once_asked(asked: Requests, expected: bool) -> None:
    assert may_serve([], asked, MINE, ATTEMPT) is expected


def test_remember_takes_one_verb_and_keeps_eight() -> None:
    asked = Requests(promote_full=True, abort=True, consumed=("promote=a/1", "abort=a/1"))
    older = [f"abort=x/{number}" for number in range(8)]
    assert remember(older, asked, "abort") == [*older[1:], "abort=a/1"]
