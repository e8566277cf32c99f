"""What a thousand reconnects leave behind: threads, open files and memory, as a table.

python -m tests.bench.bench_reconnects [--times 1000] [--cameras 10]
"""

import argparse
import logging
import tempfile
import time
from pathlib import Path

import structlog

from cameras.clips.write import write_clip
from tests.clips import moving_pictures
from tests.reconnects import cameras_on, held, lose_all
from tests.rtsp import rtsp_server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--cameras", type=int, default=10)
    asked = parser.parse_args()
    # Every camera is lost on purpose: only errors would be news.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory(prefix="facend-") as folder:
        clip = Path(folder, "hall.mp4")
        write_clip(clip, moving_pictures(20, 320, 240), 10)
        with rtsp_server({"hall": clip}) as server, cameras_on(server, asked.cameras) as cameras:
            print(f"{'reconnects':>10}  {'threads':>7}  {'files':>5}  {'KiB':>7}  {'seconds':>7}", flush=True)
            began = time.monotonic()
            rounds = asked.times // asked.cameras
            warm = max(4, rounds // 10)
            for number in range(warm + rounds + 1):
                if number >= warm and (number - warm) % max(1, rounds // 10) == 0:
                    now = held()
                    seconds = time.monotonic() - began
                    done = (number - warm) * asked.cameras
                    row = f"{done:>10}  {now.threads:>7}  {now.files:>5}  {now.kibibytes:>7}  {seconds:>7.0f}"
                    print(row, flush=True)
                if number < warm + rounds:
                    lose_all(server, cameras)


if __name__ == "__main__":
    main()
