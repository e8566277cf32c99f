"""The box: its cameras and its state."""

from fastapi import APIRouter

from daemon.http.api.problems import responses
from daemon.http.api.security import Managing, Seeing
from daemon.http.api.services import ServicesDependency
from daemon.http.errors import HttpError
from daemon.status import CameraReport, DaemonReport

router = APIRouter()


@router.get("/cameras", tags=["cameras"], responses=responses())
async def list_cameras(services: ServicesDependency, principal: Seeing) -> list[CameraReport]:
    """The cameras that this box reads, with their state."""
    return [camera for camera in services.report().cameras if principal.sees(camera.cam_id)]


@router.get("/cameras/{cam_id}", tags=["cameras"], responses=responses(404))
async def get_camera(services: ServicesDependency, principal: Seeing, cam_id: str) -> CameraReport:
    for camera in await list_cameras(services, principal):
        if camera.cam_id == cam_id:
            return camera
    raise HttpError(404, "not_found", f"there is no camera {cam_id[:44]}")


@router.get("/box", tags=["box"], responses=responses())
async def get_box(services: ServicesDependency, _principal: Managing) -> DaemonReport:
    """The state of this box, as `/status` shows it."""
    return services.report()
