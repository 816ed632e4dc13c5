"""The figures of the design's own simulation (rollout.md, section 3.2), which this benchmark is held to.

Shares in percent as they were printed, so that the last digit tells how far rounding went. Its script is lost; where
its text leaves a detail open, the choice made here is said in the document.
"""

from typing import Final

RUNS: Final = 20_000

IDENTICAL: Final = {
    "base 0.1 %, 10 % canary": ("31.4", "5.3", "2.0", "0.36"),
    "base 0.1 %, steps 5/10/25/50": ("35.1", "5.4", "2.3", "0.46"),
    "base 1 %, steps": ("40.0", "5.2", "1.3", "0.28"),
    "base 1 %, steps, swing and shared noise": ("56.1", "5.0", "1.0", "0.22"),
}
"""z-test at p < 0.05 every tick and at the end, counts at 5 % and at 1 %."""

OWN: Final = {
    0.0: ("0.08", "0", "0.30"),
    0.25: ("0.63", "0.12", "0.50"),
    0.5: ("5.9", "1.3", "0.53"),
    1.0: ("28.7", "8.4", "0.52"),
}
"""Plain, tempered and sign betting at 1 %, by the CV of each group's own noise."""

OWN_MINUTES: Final = {0.0: ("1.5", "2.1", "4.6"), 0.5: ("1.5", "2.25", "8.4")}
"""Median minutes until a canary twice as bad is found."""

DETECTION: Final = {
    "20 requests/s, base 0.005, x1.5": ("9", None),
    "20 requests/s, base 0.005, x2": ("56", "10"),
    "20 requests/s, base 0.005, x3": ("99", "47"),
    "20 requests/s, base 0.005, x5": ("100", "97"),
    "200 requests/s, base 0.001, x2": ("92", "24"),
    "200 requests/s, base 0.001, x3": ("100", "84"),
    "200 requests/s, base 0.005, x1.5": ("99", "32"),
    "200 requests/s, base 0.005, x2": ("100", "96"),
}
"""Found by the end, and by the end of the second step."""

FLAGGER: Final = {2: "29", 10: "44", 50: "1.3", 200: "0"}
"""Good canary rolled back: 25 checks at 2..50 %, threshold 5, by requests/s."""

ARGO: Final = {10: ("78", "11"), 50: ("48", "1.5"), 200: ("6.6", "0")}
"""Good canary rolled back: 5 checks at 10 %, failureLimit 0 and 2, by requests/s."""

LATE_MINUTES: Final = {(0, "counts"): "1.75", (0, "late"): "2.0", (45, "counts"): "10", (45, "late"): "2.75"}
"""Minutes from the fault to its alarm, fault at minute 0 or 45, without and with the late-fault mixture."""

SAFE: Final = {
    (2.0, 0.01): "1,000-1,200",
    (2.0, 0.001): "10,000-12,000",
    (1.5, 0.01): "3,200-3,900",
    (1.25, 0.01): "14,000",
}
"""Median canary requests to prove an equal canary less than so many times as bad, by that and the base rate (5a)."""
