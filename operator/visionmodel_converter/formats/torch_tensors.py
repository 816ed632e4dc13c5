"""Between numpy arrays, sentences and what a torch network takes, gives and says; shared by the two torch loaders."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from visionmodel_converter.failures import first_line

if TYPE_CHECKING:
    import torch

Arrays = Sequence[NDArray[Any]]
COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")


def tensor_of(array: NDArray[Any]) -> "torch.Tensor":
    """Return a tensor of its own memory, since a network may write into its inputs."""
    import torch

    return torch.from_numpy(np.array(array))


def flat_tensors(outputs: object) -> "list[torch.Tensor]":
    """Return the tensors of nested tuples, lists and dictionaries, in the order in which torch exports them."""
    import torch
    from torch.utils import _pytree as pytree

    return [leaf.detach() for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, torch.Tensor)]


def cause_of(error: BaseException) -> str:
    """Return what went wrong in one line: torch wraps the cause, and its interpreter says it last."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line for line in str(error).splitlines() if line.startswith("RuntimeError: ")]
    return COLOURS.sub("", lines[-1][:300] if lines else first_line(error))
