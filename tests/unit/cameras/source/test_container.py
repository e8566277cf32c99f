"""The choice of the device that decodes."""

from pathlib import Path

from av.codec.hwaccel import HWAccel

from cameras.clips.write import write_clip
from cameras.settings import CameraSettings
from cameras.source.container import open_container
from tests.clips import moving_pictures


def test_the_chosen_device_decodes_and_software_takes_over_where_it_cannot(tmp_path: Path) -> None:
    """The choice is made for the camera that is opened; every frame arrives in memory."""
    clip = tmp_path / "hall.mp4"
    write_clip(clip, moving_pictures(5, 160, 120), 10)
    settings = CameraSettings.model_validate({"id": "hall", "url": clip.as_uri()})
    asked: list[str] = []

    def device(camera: CameraSettings) -> HWAccel:
        asked.append(camera.id)
        return HWAccel("vaapi", allow_software_fallback=True)

    def frames(**options: object) -> list[bytes]:
        with open_container(settings, str(clip), {}, **options) as container:  # type: ignore[arg-type]
            return [frame.to_ndarray(format="gray").tobytes() for frame in container.decode(video=0)]

    assert frames(device=device) == frames()
    assert len(frames()) == 5
    assert asked == ["hall"]
