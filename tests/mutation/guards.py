"""Disable each guard of the rollout's core, one at a time, and see whether a test notices. Not part of `make test`.

`python tests/mutation/guards.py [module ...]` prints the guards that nobody missed. A guard is the condition of an
`if`, of a conditional expression, or of a `case`; disabled, it is never true. Each mutant runs in a process of its
own, with the module's source changed on import; nothing is written.
"""

import argparse
import ast
import importlib.abc
import importlib.machinery
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "visionmodel_operator.core"
MODULES = (
    "rollout",
    "rolling_back",
    "window",
    "stepping",
    "conversions",
    "effects",
    "memory",
    "view",
    "timing",
    "requests",
    "evidence",
    "plan",
    "blue_green",
    "header_route",
    "capacity",
    "device_plan",
    "devices",
    "exchange",
    "detection",
)
TESTS = "tests/unit/core"
LEFT_OUT = ("test_random_histories", "test_interruptions", "test_judge", "test_counters")
TIMEOUT = 900


@dataclass(frozen=True)
class Guard:
    """One condition: the index is its place among all conditions of the module, in the order of `ast.walk`."""

    module: str
    index: int
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.module}.py:{self.line}: {self.text}"


def source_of(module: str) -> str:
    return (ROOT / "operator" / PACKAGE.replace(".", "/") / f"{module}.py").read_text(encoding="utf-8")


def conditions_in(tree: ast.AST) -> Iterator[tuple[ast.AST, str, ast.expr]]:
    """Yield (node, field, condition)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If | ast.IfExp):
            yield node, "test", node.test
        elif isinstance(node, ast.match_case) and node.guard is not None:
            yield node, "guard", node.guard


def guards_of(module: str) -> tuple[Guard, ...]:
    found = conditions_in(ast.parse(source_of(module)))
    return tuple(
        Guard(module, index, condition.lineno, ast.unparse(condition)) for index, (_, _, condition) in enumerate(found)
    )


def without_guard(source: str, index: int) -> ast.Module:
    """Return the module with one condition that is never true."""
    tree = ast.parse(source)
    node, field, condition = list(conditions_in(tree))[index]
    setattr(node, field, ast.copy_location(ast.Constant(False), condition))
    return ast.fix_missing_locations(tree)


class MutantLoader(importlib.abc.Loader):
    """Runs the changed module in place of the real one."""

    def __init__(self, module: str, index: int) -> None:
        self.code = compile(without_guard(source_of(module), index), f"<mutant of {module}>", "exec")

    def exec_module(self, module: ModuleType) -> None:
        exec(self.code, module.__dict__)


class MutantFinder(importlib.abc.MetaPathFinder):
    """Finds one module's mutant."""

    def __init__(self, module: str, index: int) -> None:
        self.name, self.loader = f"{PACKAGE}.{module}", MutantLoader(module, index)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(fullname, self.loader) if fullname == self.name else None


def run_mutant(module: str, index: int) -> int:
    """Run the tests with one guard disabled; 0 means that nobody noticed."""
    sys.meta_path.insert(0, MutantFinder(module, index))
    left_out = [f"--ignore={TESTS}/sequential", *(f"--ignore={TESTS}/{name}.py" for name in LEFT_OUT)]
    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--no-header", TESTS, *left_out]))


def is_noticed(guard: Guard) -> bool:
    command = [sys.executable, __file__, "--mutant", guard.module, str(guard.index)]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, timeout=TIMEOUT, check=False).returncode != 0
    except subprocess.TimeoutExpired:
        return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("modules", nargs="*", default=list(MODULES))
    parser.add_argument("--mutant", nargs=2, metavar=("MODULE", "INDEX"))
    arguments = parser.parse_args()
    if arguments.mutant:
        return run_mutant(arguments.mutant[0], int(arguments.mutant[1]))
    survivors = 0
    for module in arguments.modules:
        source = source_of(module)
        for guard in guards_of(module):
            if source_of(module) != source:
                raise SystemExit(f"{module} was edited meanwhile")
            if not is_noticed(guard):
                survivors += 1
                print(f"nobody missed {guard}", flush=True)
        print(f"{module}: {len(guards_of(module))} guards", flush=True)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
