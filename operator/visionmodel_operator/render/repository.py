"""What Triton's model repository holds for a revision: which models, which config.pbtxt, and where the artifact goes.

Tensor: the network itself, under the VisionModel's name. Image tasks: an ensemble of that name over `<name>-pre`,
`<name>-net` and `<name>-post`; Triton wants a version directory of each, so all but the network's are empty.
"""

from dataclasses import dataclass
from typing import Final

from visionmodel_contract.report import ArtifactInfo
from visionmodel_operator.api.spec import TaskType, VisionModelSpec
from visionmodel_operator.core.snapshot import Platform
from visionmodel_operator.render.ensemble import ensemble_configs
from visionmodel_operator.render.triton_config import config_pbtxt

CONFIG_KEY: Final = "config.pbtxt"
STEPS: Final = ("net", "pre", "post")


@dataclass(frozen=True)
class RepositoryModel:
    """One model of the repository.

    Attributes:
        name: its name, and its folder.
        config_key: key of its config.pbtxt in the revision's ConfigMap.
        has_artifact: whether its version directory is the artifact; else it is empty.
    """

    name: str
    config_key: str
    has_artifact: bool


def repository_models(name: str, spec: VisionModelSpec) -> tuple[RepositoryModel, ...]:
    """Return the models of a revision, the one that clients call first."""
    if spec.task.type == TaskType.TENSOR:
        return (RepositoryModel(name, CONFIG_KEY, has_artifact=True),)
    steps = (RepositoryModel(f"{name}-{step}", f"{step}.{CONFIG_KEY}", step == "net") for step in STEPS)
    return (RepositoryModel(name, CONFIG_KEY, has_artifact=False), *steps)


def config_files(
    name: str, revision: str, spec: VisionModelSpec, artifact: ArtifactInfo, platform: Platform
) -> dict[str, str]:
    """Return the text of every config.pbtxt by its key.

    Raises:
        UserError: the task or the batching asked for does not fit the artifact.
    """
    if spec.task.type == TaskType.TENSOR:
        return {CONFIG_KEY: config_pbtxt(name, revision, spec, artifact, platform)}
    texts = ensemble_configs(name, revision, spec, artifact, platform)
    return {model.config_key: texts[model.name] for model in repository_models(name, spec)}
