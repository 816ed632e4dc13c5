"""Strategy BlueGreen as a plan of two steps: the preview, and the switch with its analysis. Pure.

The previous revision stays the stable one, at full scale and with a share to judge by, until the second step has
passed. So going back is an abort, and what follows the analysis is a promotion, as of any other plan.
"""

from visionmodel_operator.api.base import duration_seconds
from visionmodel_operator.api.spec import BlueGreen
from visionmodel_operator.api.status import PlanStep
from visionmodel_operator.core.weights import TRACE, WHOLE, ppm_from_percent


def blue_green_plan(settings: BlueGreen) -> tuple[PlanStep, ...]:
    """Return the preview, which has no user's traffic, and the switch, after which both revisions still run."""
    delay = 0.0 if settings.auto_promotion_delay is None else duration_seconds(settings.auto_promotion_delay)
    preview = PlanStep(
        weight_ppm=0,
        min_seconds=delay if settings.auto_promotion else None,
        headers=list(settings.preview_headers) or None,
        replicas=settings.preview_replicas,
        scale_ppm=WHOLE if settings.preview_replicas is None else None,
    )
    switched = PlanStep(
        weight_ppm=WHOLE - max(TRACE, ppm_from_percent(settings.baseline_weight)),
        min_seconds=duration_seconds(settings.scale_down_delay),
        scale_ppm=WHOLE,
    )
    return preview, switched
