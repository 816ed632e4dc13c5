"""The platform of the whole suite: the dev cluster, started if it does not run, or a cluster named by KUBECONFIG."""

import contextlib
import hashlib
import re
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from e2e.fault_table import FaultRow, row_of, table_of, write_table
from e2e.installation import Installation, diagnosis, provide_installation, restricted_namespace
from e2e.scene import Scene, new_name
from visionmodel_demo.kube import KubectlError
from visionmodel_demo.platform import Platform, provide_platform
from visionmodel_devcluster.locks import file_lock
from visionmodel_devcluster.paths import cache_dir

FAILED = pytest.StashKey[bool]()
FAULTS = pytest.StashKey[list[FaultRow]]()
# As a status code, not as a part of a duration or a time.
FORBIDDEN = re.compile(r"(?<![\d.:])403\b|[Ff]orbidden")
TERMINATING = "because it is being terminated"
"""A namespace on its way out refuses everybody, whatever the roles say."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the table of faults goes besides the terminal."""
    parser.addoption("--fault-table", type=Path, help="document whose table of faults is replaced by this run's")


def pytest_configure(config: pytest.Config) -> None:
    """Begin with an empty table of faults."""
    config.stash[FAULTS] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table of faults, also where it is to be written."""
    rows = config.stash[FAULTS]
    if not rows:
        return
    terminalreporter.section("faults")
    terminalreporter.write_line(table_of(rows))
    if (path := config.getoption("--fault-table")) is not None:
        write_table(rows, path)


@pytest.fixture(scope="session")
def platform() -> Platform:
    """A running cluster; it keeps running afterwards, so that the next run starts at once."""
    return provide_platform()


@pytest.fixture(scope="session")
def installation(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The operator of this checkout, and models of every kind in a store; one session at a time has a cluster."""
    cluster = hashlib.sha256(str(platform.kube.kubeconfig).encode()).hexdigest()[:12]
    with file_lock(
        cache_dir() / "e2e" / cluster, refusal="another session of this suite uses the cluster; wait for it"
    ):
        yield provide_installation(platform, tmp_path_factory.mktemp("models"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """After a failure add what the cluster says; what the test made is then kept."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
        scenes: list[Scene] = [v for v in getattr(item, "funcargs", {}).values() if isinstance(v, Scene)]
        for scene in scenes:
            with contextlib.suppress(KubectlError):
                report.sections.append((f"namespace {scene.namespace}", diagnosis(scene.platform, scene.namespace)))
    return report


@pytest.fixture
def namespace(installation: Installation, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own: what is converted in it was never converted before."""
    with restricted_namespace(installation, lambda: request.session.testsfailed) as name:
        yield name


@pytest.fixture(scope="session")
def shared_namespace(installation: Installation, request: pytest.FixtureRequest) -> Iterator[str]:
    """One namespace for the whole suite: a model is converted once, by whoever needs it first."""
    with restricted_namespace(installation, lambda: request.session.testsfailed) as name:
        yield name


@pytest.fixture
def scene(
    installation: Installation, shared_namespace: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Scene]:
    """A VisionModel of the test's own in the shared namespace."""
    scene = Scene(installation, shared_namespace, new_name(), tmp_path)
    yield scene
    if request.node.stash.get(FAILED, False):
        return
    fault = request.node.get_closest_marker("fault")
    if fault is not None:
        request.config.stash[FAULTS].append(row_of(str(fault.args[0]), scene))
    assert scene.unexplained() == [], "every status says why"
    scene.delete()


@pytest.fixture(autouse=True)
def nothing_forbidden(request: pytest.FixtureRequest) -> Iterator[None]:
    """The operator never asks for what its chart does not allow."""
    if "installation" not in request.fixturenames:
        yield
        return
    log = request.getfixturevalue("installation").operator.log
    log.begin()
    yield
    log.save()
    assert log.unread() == []
    assert [line for line in log.lines() if FORBIDDEN.search(line) and TERMINATING not in line] == []
