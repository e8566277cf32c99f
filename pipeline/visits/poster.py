"""Turns selected shots into sightings: converts frames, crops, embeds and encodes faces."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from pipeline.models.loader import Models
from pipeline.pictures import decode as pictures
from pipeline.types import FaceAttributes, Facen, Frame, Picture, PipelineObserver, Sighting, StartedVisit
from pipeline.visits.best_shot import Shot, ShotOutcome
from pipeline.visits.visit_shots import FaceCrop, VisitFacen, visit_facen
from pipeline.visits.visits import OngoingVisit, Post


class Poster:
    """Makes the sightings of one camera. Not thread-safe; the models may be shared."""

    def __init__(self, cam_id: str, models: Models, observer: PipelineObserver) -> None:
        self._cam_id = cam_id
        self._models = models
        self._observer = observer

    def crop(self, due: Sequence[tuple[OngoingVisit, Shot]]) -> None:
        """Crop the faces of shots for their visits' facens; the frames are released."""
        if not due:
            return
        with timed(self._observer, "convert"):
            frames = _BgrFrames()
            for visit, shot in due:
                visit.shots.keep(_crop(frames.bgr(shot.frame), shot))

    def announce(self, started: Sequence[tuple[OngoingVisit, Shot]]) -> None:
        """Embed the first usable faces of visits, and report the visits to the observer."""
        if not started:
            return
        with timed(self._observer, "convert"):
            frames = _BgrFrames()
            crops = [_crop(frames.bgr(shot.frame), shot) for _, shot in started]
        self.embed(crops)
        for (visit, shot), crop in zip(started, crops, strict=True):
            self._observer.visit_started(
                StartedVisit(
                    cam_id=self._cam_id,
                    visit_id=visit.id,
                    started_at=visit.started_at,
                    seen_at=shot.frame.captured_at,
                    facen=facen_of(crop),
                    pack=self._models.pack.name,
                    score=shot.quality.score,
                )
            )

    def sightings(self, posts: Sequence[Post]) -> list[Sighting]:
        """Crop, embed and encode the posted shots. Each frame is converted once."""
        if not posts:
            return []
        with timed(self._observer, "convert"):
            frames = _BgrFrames()
            plans = [self._plan(post, frames) for post in posts]
            photos = {id(post.shot.frame): b"" for post in posts}
            for post in posts:
                photos[id(post.shot.frame)] = photos[id(post.shot.frame)] or pictures.jpeg(
                    frames.bgr(post.shot.frame)
                )
        self.embed([crop for plan in plans for crop in plan.crops])
        sightings = []
        for plan in plans:
            attributes = self._describe(plan, frames)
            sightings.append(self._sighting(plan, photos[id(plan.post.shot.frame)], attributes))
            self._observer.shot(self._cam_id, ShotOutcome.POSTED.value)
        return sightings

    def _plan(self, post: Post, frames: "_BgrFrames") -> "_PostPlan":
        shots, shot = post.visit.shots, post.shot
        if (last := shots.release()) is not None:
            shots.keep(_crop(frames.bgr(last.frame), last))
        # The posted shot comes first; usually it is also one of the kept crops.
        same = [crop for crop in shots.crops if crop.media_time == shot.frame.media_time]
        others = [crop for crop in shots.crops if crop.media_time != shot.frame.media_time]
        posted = same[0] if same else _crop(frames.bgr(shot.frame), shot)
        return _PostPlan(post, [posted, *others][: shots.max_crops])

    def embed(self, crops: Sequence[FaceCrop]) -> None:
        """Embed the crops that have no facen yet."""
        new = [crop for crop in crops if crop.facen is None]
        with timed(self._observer, "embed"):
            facens = self._models.embedder.embed([crop.face for crop in new])
        for crop, facen in zip(new, facens, strict=True):
            crop.facen = facen

    def _describe(self, plan: "_PostPlan", frames: "_BgrFrames") -> FaceAttributes:
        if self._models.attributes is None:
            return FaceAttributes()
        shot = plan.post.shot
        with timed(self._observer, "attributes"):
            return self._models.attributes.describe(
                frames.bgr(shot.frame), shot.detection.bbox, plan.crops[0].face
            )

    def _sighting(self, plan: "_PostPlan", photo: bytes, attributes: FaceAttributes) -> Sighting:
        post, crops = plan.post, plan.crops
        frame, detection, quality = post.shot.frame, post.shot.detection, post.shot.quality
        combined = visit_facen(
            np.stack([facen_of(crop) for crop in crops]),
            [crop.score for crop in crops],
            self._models.pack.thresholds.low,
        )
        return Sighting(
            cam_id=self._cam_id,
            visit_id=post.visit.id,
            captured_at=frame.captured_at,
            media_time=frame.media_time,
            bbox=detection.bbox,
            score=quality.score,
            facen=combined.facen,
            photo=photo,
            normalized=pictures.png(crops[0].face),
            pack=self._models.pack.name,
            detector_info=_info(post, combined),
            shots=combined.shots,
            co_visible=post.visit.co_visible,
            attributes=attributes,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _PostPlan:
    """A post and the crops for its facen, the posted shot's first."""

    post: Post
    crops: list[FaceCrop]


class _BgrFrames:
    """Converts each frame to BGR once."""

    def __init__(self) -> None:
        self._pictures: dict[int, tuple[Frame, Picture]] = {}

    def bgr(self, frame: Frame) -> Picture:
        if id(frame) not in self._pictures:
            self._pictures[id(frame)] = frame, frame.pixels.bgr()
        return self._pictures[id(frame)][1]


def facen_of(crop: FaceCrop) -> Facen:
    """The facen of an embedded crop."""
    if crop.facen is None:
        raise ValueError("this crop has not been embedded")
    return crop.facen


@contextmanager
def timed(observer: PipelineObserver, stage: str) -> Iterator[None]:
    """Report the duration of the block to the observer."""
    start = time.perf_counter()
    yield
    observer.stage(stage, time.perf_counter() - start)


def _crop(picture: Picture, shot: Shot) -> FaceCrop:
    return FaceCrop.from_frame(picture, shot.detection.landmarks, shot.quality.score, shot.frame.media_time)


def _info(post: Post, combined: VisitFacen) -> dict[str, object]:
    detection, quality = post.shot.detection, post.shot.quality
    return {
        "detector_score": round(detection.score, 4),
        "landmarks": [[round(float(value), 2) for value in point] for point in detection.landmarks],
        "quality": {name: round(value, 4) for name, value in quality.parts.items()},
        "posting": post.mode.value,
        "visit_started_at": post.visit.started_at.isoformat(),
        **({"visit_ended_at": post.visit.seen_at.isoformat()} if post.is_last else {}),
        "shots": combined.shots,
        "shots_agreement": round(combined.agreement, 4),
        "shots_apart": combined.disagreeing,
    }
