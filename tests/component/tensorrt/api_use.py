"""What a module uses of NVIDIA's packages, found in its syntax tree and checked against the real ones.

Types are followed as far as the bindings tell them: pybind11 writes every signature into the docstring, so the type
of `builder.create_network(...)` is what the docstring of `Builder.create_network` says it returns. Imports from these
packages inside of functions are followed, too. Run by the test in a process of its own, because the bindings of one
version can be loaded once per process: `python api_use.py SOURCE [ALIAS=MODULE ...]` prints one JSON object.
"""

import ast
import importlib
import importlib.util
import inspect
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ALIAS = "trt"
PACKAGES = ("cuda", "polygraphy")
SIGNATURE = re.compile(r"^(?:\d+\. )?(?P<name>\w+)\((?P<parameters>.*)\)(?: -> (?P<result>[\w.]+))?", re.MULTILINE)


@dataclass
class Report:
    """Uses that were checked, and those that the bindings do not have."""

    version: str
    checked: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Signature:
    """One overload: parameter names after self, how many have no default, and the class it returns."""

    names: tuple[str, ...]
    required: int
    result: str | None
    takes_any: bool

    def accepts(self, positional: int, keywords: set[str]) -> bool:
        """Return whether a call of this shape fits."""
        if self.takes_any:
            return True
        return self.required <= positional + len(keywords) <= len(self.names) and keywords <= set(
            self.names[positional:]
        )


def signatures(member: Any) -> tuple[Signature, ...]:
    """Return the overloads that a docstring of pybind11 lists."""
    found = []
    for match in SIGNATURE.finditer(inspect.getdoc(member) or ""):
        parts = [part.strip() for part in _split(match["parameters"])]
        parameters = [part for part in parts if part and not part.startswith("self")]
        found.append(
            Signature(
                names=tuple(part.split(":")[0].split("=")[0].strip() for part in parameters),
                required=sum("=" not in part for part in parameters),
                result=(match["result"] or "").rpartition(".")[2] or None,
                takes_any="*args" in match["parameters"],
            )
        )
    specific = tuple(signature for signature in found if not signature.takes_any)
    return specific or tuple(found)


def _split(parameters: str) -> list[str]:
    """Split at commas outside of brackets."""
    parts, depth = [""], 0
    for character in parameters:
        depth += (character in "[(") - (character in "])")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


class Checker(ast.NodeVisitor):
    """Walks one function after the other; `known` holds the TensorRT class of each local name."""

    def __init__(self, modules: Mapping[str, Any], report: Report) -> None:
        self.modules, self.report = modules, report
        self.known: dict[str, Any] = {}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """A name that is imported from one of the packages is there."""
        module = node.module or ""
        if module.partition(".")[0] not in PACKAGES:
            return
        for name in node.names:
            use = f"{module}.{name.name}"
            try:
                imported = importlib.import_module(module)
                there = hasattr(imported, name.name) or importlib.util.find_spec(use) is not None
            except ImportError:
                there = False
            if there:
                self.report.checked.append(use)
            else:
                self._fault(node, f"{use} does not exist")

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Take the classes of annotated parameters, then the body."""
        outer, self.known = self.known, dict(self.known)
        for argument in node.args.args:
            if argument.annotation is not None:
                self.known[argument.arg] = self._annotated(argument.annotation)
        self.generic_visit(node)
        self.known = outer

    def visit_Assign(self, node: ast.Assign) -> None:
        """Remember what a name holds; setting an attribute needs a property of that name."""
        self.visit(node.value)
        for target in node.targets:
            if isinstance(target, ast.Name):
                self.known[target.id] = self.type_of(node.value)
            else:
                self.visit(target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """An annotation names the class where the bindings' docstring does not."""
        if node.value is not None:
            self.visit(node.value)
        if isinstance(node.target, ast.Name):
            self.known[node.target.id] = self._annotated(node.annotation)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """A class derived from one of TensorRT's overrides methods that it calls, with as many parameters."""
        for base in node.bases:
            owner = self._owner(base)
            for method in (one for one in node.body if isinstance(one, ast.FunctionDef)):
                if owner is not None and not method.name.startswith("_"):
                    self._overridden(owner, method)
        self.generic_visit(node)

    def _overridden(self, owner: Any, method: ast.FunctionDef) -> None:
        use = f"{owner.__name__}.{method.name}"
        member = getattr(owner, method.name, None)
        if member is None:
            self._fault(method, f"{use} does not exist")
            return
        self.report.checked.append(use)
        count = len(method.args.args) - 1
        if not any(len(overload.names) == count for overload in signatures(member)):
            self._fault(method, f"{use} has {signatures(member)}, overridden with {count} parameters")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Check one step of an attribute chain."""
        self.generic_visit(node)
        self._member(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Check the shape of a call."""
        self.generic_visit(node)
        member = self._member(node.func) if isinstance(node.func, ast.Attribute) else None
        if member is None or inspect.isclass(member):
            return
        positional = len(node.args) - self._is_unbound(node.func)
        keywords = {keyword.arg for keyword in node.keywords if keyword.arg}
        overloads = signatures(member)
        if overloads and not any(overload.accepts(positional, keywords) for overload in overloads):
            self._fault(node, f"{ast.unparse(node.func)} takes {overloads}, called with {positional} and {keywords}")

    def _is_unbound(self, function: ast.expr) -> int:
        """Return 1 for Class.method(self, ...), whose first argument is the object."""
        owner = function.value if isinstance(function, ast.Attribute) else None
        return int(isinstance(owner, ast.Attribute) and inspect.isclass(self._member(owner)))

    def type_of(self, node: ast.expr) -> Any:
        """Return the TensorRT class of an expression, None where it is none."""
        if isinstance(node, ast.Name):
            return self.known.get(node.id)
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            return None
        member = self._member(node.func)
        if inspect.isclass(member):
            return member
        results = {overload.result for overload in signatures(member)} if member is not None else set()
        found = (getattr(module, next(iter(results)) or "", None) for module in self.modules.values())
        return next((one for one in found if one is not None), None) if len(results) == 1 else None

    def _member(self, node: ast.Attribute) -> Any:
        owner = self._owner(node.value)
        if owner is None:
            return None
        use = f"{getattr(owner, '__name__', owner)}.{node.attr}"
        if not hasattr(owner, node.attr):
            self._fault(node, f"{use} does not exist")
            return None
        self.report.checked.append(use)
        return getattr(owner, node.attr)

    def _owner(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Name) and node.id in self.modules:
            return self.modules[node.id]
        if isinstance(node, ast.Attribute):
            found = self._member(node)
            return found if inspect.isclass(found) else None
        return self.type_of(node)

    def _annotated(self, annotation: ast.expr) -> Any:
        """Return the class that an annotation names, quoted or not; None where it is none of TensorRT's."""
        path = str(annotation.value) if isinstance(annotation, ast.Constant) else ast.unparse(annotation)
        alias, *names = path.split(".")
        if alias not in self.modules:
            return None
        owner = self.modules[alias]
        for name in names:
            if not hasattr(owner, name):
                self._fault(annotation, f"{path} does not exist")
                return None
            owner = getattr(owner, name)
        return owner

    def _fault(self, node: ast.AST, text: str) -> None:
        self.report.faults.append(f"line {getattr(node, 'lineno', 0)}: {text}")


def check(source: str, modules: Mapping[str, Any]) -> Report:
    """Return what a source uses of the modules, by the names that it has for them."""
    report = Report(modules[ALIAS].__version__)
    Checker(modules, report).visit(ast.parse(source))
    report.checked = sorted(set(report.checked))
    report.faults = sorted(set(report.faults))
    return report


if __name__ == "__main__":
    named = {ALIAS: "tensorrt_bindings", **dict(word.split("=", 1) for word in sys.argv[2:])}
    found = {alias: importlib.import_module(module) for alias, module in named.items()}
    result = check(Path(sys.argv[1]).read_text(encoding="utf-8"), found)
    print(json.dumps(vars(result)))
