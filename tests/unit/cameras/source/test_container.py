"""Choice of the decoding device."""

from pathlib import Path

from av.codec.hwaccel import HWAccel

from cameras.clips.write import write_clip
from cameras.settings import CameraSettings
from cameras.source.container import open_container
from tests.clips import moving_pictures


def test_decoding_falls_back_to_software_if_the_device_cannot_decode(tmp_path: Path) -> None:
    """The device is chosen for the opened camera; every frame is in main memory."""
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
