"""Kubernetes quantities: the number behind one, and the one form in which the API server stores it.

The server rewrites "0.5" to "500m" and "1.5Gi" to "1536Mi". Children are written in that form at once, so that
comparing what we want with what is there finds real differences only; the user's own object is never touched.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

_FORM: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
_DECIMAL: Final = {"E": 10**18, "P": 10**15, "T": 10**12, "G": 10**9, "M": 10**6, "k": 10**3, "": 1}
_BINARY: Final = {f"{unit}i": 1024**power for power, unit in reversed(list(enumerate("KMGTPE", start=1)))}
_MILLI: Final = Decimal("0.001")


def amount(quantity: str) -> Decimal:
    """Return the number that a quantity stands for, e.g. 0.5 for "500m". Raises ValueError on any other text."""
    form = _FORM.fullmatch(quantity)
    if form is None:
        raise ValueError(f"{quantity!r} is not a quantity such as 500m, 2 or 1Gi")
    number, suffix = form.groups(default="")
    return Decimal(number) * (_MILLI if suffix == "m" else (_DECIMAL | _BINARY)[suffix])


def canonical(quantity: str) -> str:
    """Return the quantity as the API server stores it: a whole number with the largest suffix that keeps it whole.

    Nothing finer than a thousandth is kept; the server rounds up and so do we.
    """
    value = amount(quantity)
    milli = int((value / _MILLI).to_integral_value(rounding="ROUND_CEILING"))
    if milli % 1000:
        return f"{milli}m"
    whole = milli // 1000
    scale = _BINARY if quantity.endswith("i") and whole >= 1024 else _DECIMAL
    for suffix, factor in scale.items():
        if whole and whole % factor == 0:
            return f"{whole // factor}{suffix}"
    return str(whole)


def canonical_map(quantities: Mapping[str, str]) -> dict[str, str]:
    """Return resource amounts, each as the API server stores it."""
    return {name: canonical(quantity) for name, quantity in quantities.items()}


def smaller(a: str, b: str) -> str:
    """Return the smaller of two quantities in its stored form."""
    return canonical(a if amount(a) <= amount(b) else b)
