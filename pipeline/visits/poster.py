"""From chosen shots to sightings: only here frames are converted whole, faces cut, embedded and encoded."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from pipeline.models.engine import Models
from pipeline.pictures import decode as pictures
from pipeline.types import FaceAttributes, Facen, Frame, Observer, Picture, Sighting
from pipeline.visits.best_shot import Shot, ShotOutcome
from pipeline.visits.visit_shots import FaceCrop, VisitFacen, visit_facen
from pipeline.visits.visits import OngoingVisit, Post


class Poster:
    """One camera's. Not thread-safe; the models may be shared."""

    def __init__(self, cam_id: str, models: Models, observer: Observer) -> None:
        self._cam_id = cam_id
        self._models = models
        self._observer = observer

    def cut(self, ripe: Sequence[tuple[OngoingVisit, Shot]]) -> None:
        """Cuts shots out of their frames for their visits' facens."""
        if not ripe:
            return
        with timed(self._observer, "convert"):
            colours = _Colours()
            for visit, shot in ripe:
                visit.shots.keep(_cut(colours.of(shot.frame), shot))

    def sightings(self, posts: Sequence[Post]) -> list[Sighting]:
        """Cuts, embeds and encodes; each frame is converted once."""
        if not posts:
            return []
        with timed(self._observer, "convert"):
            colours = _Colours()
            plans = [self._plan(post, colours) for post in posts]
            photos = {id(post.shot.frame): b"" for post in posts}
            for post in posts:
                photos[id(post.shot.frame)] = photos[id(post.shot.frame)] or pictures.jpeg(
                    colours.of(post.shot.frame)
                )
        self.embed([cut for plan in plans for cut in plan.cuts])
        sightings = []
        for plan in plans:
            attributes = self._describe(plan, colours)
            sightings.append(self._sighting(plan, photos[id(plan.post.shot.frame)], attributes))
            self._observer.shot(self._cam_id, ShotOutcome.POSTED.value)
        return sightings

    def _plan(self, post: Post, colours: "_Colours") -> "_Plan":
        shots, shot = post.visit.shots, post.shot
        if (last := shots.last()) is not None:
            shots.keep(_cut(colours.of(last.frame), last))
        # The posted shot is first, and mostly also among the others.
        same = [cut for cut in shots.cuts if cut.media_time == shot.frame.media_time]
        others = [cut for cut in shots.cuts if cut.media_time != shot.frame.media_time]
        posted = same[0] if same else _cut(colours.of(shot.frame), shot)
        return _Plan(post, [posted, *others][: shots.most])

    def embed(self, cuts: Sequence[FaceCrop]) -> None:
        """Makes the facens of those that have none."""
        new = [cut for cut in cuts if cut.facen is None]
        with timed(self._observer, "embed"):
            facens = self._models.embedder.embed([cut.face for cut in new])
        for cut, facen in zip(new, facens, strict=True):
            cut.facen = facen

    def _describe(self, plan: "_Plan", colours: "_Colours") -> FaceAttributes:
        if self._models.attributes is None:
            return FaceAttributes()
        shot = plan.post.shot
        with timed(self._observer, "attributes"):
            return self._models.attributes.describe(
                colours.of(shot.frame), shot.detection.bbox, plan.cuts[0].face
            )

    def _sighting(self, plan: "_Plan", photo: bytes, attributes: FaceAttributes) -> Sighting:
        post, cuts = plan.post, plan.cuts
        frame, detection, quality = post.shot.frame, post.shot.detection, post.shot.quality
        together = visit_facen(
            np.stack([facen_of(cut) for cut in cuts]),
            [cut.score for cut in cuts],
            self._models.pack.thresholds.low,
        )
        return Sighting(
            cam_id=self._cam_id,
            visit_id=post.visit.id,
            captured_at=frame.captured_at,
            media_time=frame.media_time,
            bbox=detection.bbox,
            score=quality.score,
            facen=together.facen,
            photo=photo,
            normalized=pictures.png(cuts[0].face),
            pack=self._models.pack.name,
            detector_info=_info(post, together),
            shots=together.shots,
            co_visible=tuple(post.visit.co_visible),
            attributes=attributes,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """A post, and the cuts its facen is made of, that of the posted shot first."""

    post: Post
    cuts: list[FaceCrop]


class _Colours:
    """Frames in BGR, each converted once."""

    def __init__(self) -> None:
        self._pictures: dict[int, tuple[Frame, Picture]] = {}

    def of(self, frame: Frame) -> Picture:
        if id(frame) not in self._pictures:
            self._pictures[id(frame)] = frame, frame.pixels.bgr()
        return self._pictures[id(frame)][1]


def facen_of(cut: FaceCrop) -> Facen:
    """The facen of a cut that was embedded."""
    if cut.facen is None:
        raise ValueError("this cut was not embedded")
    return cut.facen


@contextmanager
def timed(observer: Observer, stage: str) -> Iterator[None]:
    """Reports the duration of the block to the observer."""
    start = time.perf_counter()
    yield
    observer.stage(stage, time.perf_counter() - start)


def _cut(picture: Picture, shot: Shot) -> FaceCrop:
    return FaceCrop.from_frame(picture, shot.detection.landmarks, shot.quality.score, shot.frame.media_time)


def _info(post: Post, together: VisitFacen) -> dict[str, object]:
    detection, quality = post.shot.detection, post.shot.quality
    return {
        "detector_score": round(detection.score, 4),
        "landmarks": [[round(float(value), 2) for value in point] for point in detection.landmarks],
        "quality": {name: round(value, 4) for name, value in quality.parts.items()},
        "posting": post.mode.value,
        "visit_started_at": post.visit.started_at.isoformat(),
        "shots": together.shots,
        "shots_agreement": round(together.agreement, 4),
        "shots_apart": together.others,
    }
