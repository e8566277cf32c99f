"""A program that puts sightings into a spool until it is killed, and prints each accepted id.

python -m tests.integration.store.put_sightings FOLDER
"""

import os
import sys
from pathlib import Path

import structlog

from store.observer import UnobservedStore
from store.spool.spool import Spool
from tests.sightings import sighting


def main() -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    spool = Spool(Path(sys.argv[1]), 1_000_000_000, UnobservedStore())
    photo = os.urandom(2_000_000)
    for person in range(1_000):
        print(spool.put(sighting(person, photo_bytes=photo)), flush=True)


if __name__ == "__main__":
    main()
