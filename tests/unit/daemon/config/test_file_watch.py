"""A changed file is seen once, when it rests."""

from pathlib import Path

from daemon.config.file_watch import FileWatch


def test_a_change_counts_once_and_only_when_it_rests(tmp_path: Path) -> None:
    """An editor that writes in steps, or puts a new file in the old one's place, is waited for."""
    path = tmp_path / "settings.toml"
    path.write_text("a = 1")
    watch = FileWatch(path)
    assert [watch.changed(), watch.changed()] == [False, False]
    path.write_text("a = 22")
    assert [watch.changed(), watch.changed(), watch.changed()] == [False, True, False]
    path.write_text("a = 333")
    assert not watch.changed()
    path.write_text("a = 4444")
    assert [watch.changed(), watch.changed()] == [False, True]
    path.unlink()
    assert [watch.changed(), watch.changed()] == [False, False]
    path.write_text("a = 55555")
    assert [watch.changed(), watch.changed()] == [False, True]


def test_a_file_that_was_emptied_is_waited_for(tmp_path: Path) -> None:
    """An editor on a full disk leaves such a one behind; it is no wish to have no cameras."""
    path = tmp_path / "settings.toml"
    path.write_text("a = 1")
    watch = FileWatch(path)
    path.write_text("")
    assert [watch.changed(), watch.changed(), watch.changed()] == [False, False, False]
    path.write_text("a = 22")
    assert [watch.changed(), watch.changed()] == [False, True]


def test_what_was_read_meanwhile_is_no_change(tmp_path: Path) -> None:
    """A signal was faster."""
    path = tmp_path / "settings.toml"
    path.write_text("a = 1")
    watch = FileWatch(path)
    path.write_text("a = 22")
    assert not watch.changed()
    watch.mark_read()
    assert [watch.changed(), watch.changed()] == [False, False]
