"""The private memory of a process."""

from pathlib import Path


def own_kibibytes(pid: int | str = "self") -> int:
    """Anonymous memory only: whether the pages of a mapped file count as private depends on whether another
    process maps it too."""
    lines = Path("/proc", str(pid), "smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))
