"""How much memory a process has for itself."""

from pathlib import Path


def own_kibibytes(pid: int | str = "self") -> int:
    """Without the files that it has mapped: how much of a library counts as its own depends on whether
    another process uses that library, too."""
    lines = Path("/proc", str(pid), "smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))
