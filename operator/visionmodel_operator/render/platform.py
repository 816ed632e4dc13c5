"""What every manifest relies on: the platform team's decisions, and what the cluster can do."""

from typing import Final

from visionmodel_operator.core.snapshot import Platform, Runtime
from visionmodel_operator.settings import Settings

FIRST_SERVER_WITH_IMAGE_VOLUMES: Final = (1, 35)


def platform_from(settings: Settings, server_version: tuple[int, int], *, route_kinds: tuple[str, ...]) -> Platform:
    """Return what the rollout may rely on: the platform team's decisions, and what this cluster can do."""
    has_image_volumes = settings.image_volumes
    if has_image_volumes is None:
        has_image_volumes = server_version >= FIRST_SERVER_WITH_IMAGE_VOLUMES
    return Platform(
        runtimes={
            version: Runtime(
                version,
                runtime.image,
                runtime.triton_version,
                openvino_image=runtime.openvino_image,
                tensorrt_converter_image=runtime.tensorrt_converter_image,
            )
            for version, runtime in settings.runtimes.items()
        },
        default_runtime=settings.default_runtime,
        converter_image=settings.converter_image,
        converter_images=settings.converter_images,
        artifact_repository=settings.artifact_repository,
        artifact_repository_insecure=settings.artifact_repository_insecure,
        push_secret=settings.push_secret,
        pull_secret=settings.pull_secret,
        artifact_uri=settings.artifact_uri,
        artifact_secret=settings.artifact_secret,
        image_volumes=has_image_volumes,
        route_kinds=route_kinds,
        simulated_accelerators=settings.simulated_accelerators,
        gateway_profile=settings.gateway_profile,
        job_cpu_limit=settings.job_cpu_limit,
        job_memory_limit=settings.job_memory_limit,
        job_storage_limit=settings.job_storage_limit,
        job_service_account=settings.job_service_account,
        build_cpu_limit=settings.build_cpu_limit,
        build_memory_limit=settings.build_memory_limit,
        converter_openvino_image=settings.converter_openvino_image,
        converter_tflite_image=settings.converter_tflite_image,
        converter_modelopt_image=settings.converter_modelopt_image,
        allow_http_sources=settings.allow_http_sources,
    )
