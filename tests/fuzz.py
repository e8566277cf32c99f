"""Inputs of any content, by a seeded generator: documents, settings, URLs and files.

`FUZZ=100000 pytest tests/integration/daemon/test_fuzz.py` tries 100,000 inputs; the default is 1,500.
`SEED=…` repeats a run.
"""

import json
import os
import random
from datetime import UTC, datetime
from typing import Any

from bson import (
    Binary,
    Code,
    DatetimeMS,
    DBRef,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
)

from pipeline.faces.facen import encode
from store.mongo.indexes import INDEXES
from store.mongo.shapes import HIGHEST_VERSION, SHAPES
from tests.facens import person_facen

INPUTS = int(os.environ.get("FUZZ", "1500"))
SEED = int(os.environ.get("SEED", "18"))

NAMES = [
    "default",
    "staff",
    "enrolled",
    "persons",
    "references",
    "cam_door",
    "ref_door",
    "no such",
    "",
    "a b",
]
TEXTS = ["", "x", "door", "Mallory", "\x00", "a\nb", "ü" * 40, "../../etc", "x" * 5000, "2026-03-01", "merge"]
STATES = ["begun", "undoing", "done", "undone", "matched", "withheld", "ambiguous"]
URLS = [
    *("rtsp://h/x", "rtsp://[127.0.0.1]:5/x", "rtsp://[::1", "http://h:99999/", "file:///%00", "file://h/x"),
    *("/dev/video0", "rtsp://u:p@h/", "rtsp://a@b@c/", "://", "rtsp:", "http://[::1%25eth0]/", "rtsps://ü/"),
]
FACENS = [encode(person_facen(number)) for number in range(6)]
FACENS += [FACENS[0][:8], "no base64", "", "AAAA", encode(person_facen(1)[:64]), FACENS[0] + "=="]


class Generator:
    """Draws inputs."""

    def __init__(self, seed: int = SEED) -> None:
        self.random = random.Random(seed)  # noqa: S311  no secret

    def one(self, *choices: Any) -> Any:
        return self.random.choice(choices)

    def value(self, depth: int = 0) -> Any:
        """Any value that MongoDB can store."""
        draw = self.random.random()
        if depth < 3 and draw < 0.12:
            return [self.value(depth + 1) for _ in range(self.random.randrange(4))]
        if depth < 3 and draw < 0.24:
            return {self.key(): self.value(depth + 1) for _ in range(self.random.randrange(4))}
        return self.one(
            *(None, True, False, 0, 1, -1, 5, Int64(2**63 - 1), Int64(-(2**63)), 0.0, -3.5, 1e308),
            *(float("nan"), float("inf"), *TEXTS, *NAMES, *STATES, *FACENS, *URLS, b"", b"\xff" * 9),
            *(ObjectId(), datetime(2026, 3, 1, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC), DatetimeMS(2**60)),
            *(DatetimeMS(-(2**60)), Decimal128("NaN"), Decimal128("1"), Regex("(a+)+$"), MinKey(), MaxKey()),
            *(Timestamp(1, 1), Code("x"), Binary(b"x" * 16, 4), DBRef("faces", 5)),
        )

    def key(self) -> str:
        return self.one(
            "a", "visit_id", "beside", "shots", "quality", "pack", "facen", "galleries", "at", "_id", "ü"
        )

    def document(self, collection: str, owner: ObjectId, persons: list[int]) -> dict[str, Any]:
        """A valid document in which up to five fields are replaced or removed."""
        made = self._sound(collection, owner, persons)
        fields = [*SHAPES.get(collection, {}), *made, self.key(), "founding", "holder", "url", "max_fps"]
        for _ in range(self.one(0, 1, 1, 1, 2, 5)):
            field = self.one(*fields)
            if self.random.random() < 0.15:
                made.pop(field, None)
            else:
                made[field] = self.value()
        if isinstance(made.get("schema"), int) and 1 < made["schema"] <= HIGHEST_VERSION:
            made["schema"] = 1  # Facend refuses documents of later versions on purpose
        if isinstance(made.get("_id"), (list, Regex)) or (made.get("_id", 0) is None):
            made.pop("_id", None)  # MongoDB itself refuses these
        return made

    def _sound(self, collection: str, owner: ObjectId, persons: list[int]) -> dict[str, Any]:
        now, number = datetime.now(UTC), self.random.randrange(1, 2**40)
        if collection == "faces":
            galleries = self.random.sample(NAMES[:7], self.random.randrange(4))
            visit = {
                "visit_id": f"v{number % 9}",
                "beside": [f"v{number % 7}"],
                "shots": 3,
                "pack": "opencv-zoo",
            }
            return {
                "_id": number,
                "owner": owner,
                "gallery": galleries,
                "facen": self.one(*FACENS[:6]),
                "person_id": self.one(None, *persons),
                "cam_id": "door",
                "timestamp": now,
                "score": -0.5,
                "x1": 1.0,
                "y1": 2.0,
                "x2": 30.0,
                "y2": 40.0,
                "photo_hash": "x",
                "detector_info": visit,
                "person_outcome": self.one(*STATES[4:]),
                "schema": 1,
            }
        more: dict[str, Any] = {
            "persons": {"_id": number, "created": now, "name": self.one(*TEXTS)},
            "person_changes": {
                "_id": number,
                "kind": self.one("merge", "split", "rename"),
                "person": self.one(1, *persons),
                "other": self.one(2, *persons),
                "at": now,
                "by": "x",
                "state": self.one(*STATES[:4]),
                "faces": [number],
                "document": {"_id": 5},
                "name": "x",
            },
            "person_proposals": {"person": 1, "other": 2, "visits": 3, "other_visits": 4, "confidence": 0.5},
            "users": {"token": f"t{number}", "active": True},
            "galleries": {"name": self.one(*NAMES)},
            "cameras": {"id": f"c{number}", "url": self.one(*URLS)},
            "counters": {"_id": f"c{number}", "seq": 1},
            "job_runs": {"_id": f"box {number}", "at": now},
            "leases": {"_id": f"l{number}", "expires": now},
            "erased": {"_id": number, "at": now},
        }.get(collection, {})
        return {"owner": owner, **more}

    def text(self) -> str:
        """A URL, a name or a path, mangled."""
        text = self.one(*URLS, *TEXTS[:8], *NAMES)
        for _ in range(self.random.randrange(4)):
            place = self.random.randrange(len(text) + 1)
            text = (
                text[:place]
                + self.one(*"[]:@/?#%.é\n 0٣", "//", "[::1]")
                + text[place + self.random.randrange(3) :]
            )
        return text

    def plain(self, depth: int = 0) -> Any:
        """Any value that TOML or JSON can contain."""
        if depth < 3 and self.random.random() < 0.2:
            return [self.plain(depth + 1) for _ in range(self.random.randrange(4))]
        if depth < 3 and self.random.random() < 0.2:
            return {self.text()[:20]: self.plain(depth + 1) for _ in range(self.random.randrange(3))}
        numbers = (0, -1, 1, 2**63, -(2**70), 10**400, 0.5, 1e308, float("inf"), float("nan"))
        return self.one(self.text(), *numbers, True, False, None)

    def damaged(self, content: bytes) -> bytes:
        """A copy of the file with random damage."""
        data = bytearray(content)
        for _ in range(self.random.randrange(1, 5)):
            place = self.random.randrange(len(data) + 1)
            what = self.random.random()
            if what < 0.3 and data:
                data[min(place, len(data) - 1)] ^= 1 << self.random.randrange(8)
            elif what < 0.5:
                del data[place:]
            elif what < 0.8:
                data[place:place] = self.one(
                    b"[" * 3000, b"\xff\xfe", b"\0" * 8, b"{}", b"null", b"1e999", b'"'
                )
            else:
                data[place : place + 30] = json.dumps(self.plain(2), default=str).encode()
        return bytes(data)


COLLECTIONS = sorted({*SHAPES, *INDEXES, "leases", "erased"})
