"""The token that says which user this box is."""

import pytest

from daemon.config.service_user import read_or_create_token
from daemon.errors import StartError


def test_the_token_stays_the_same_and_is_ours_alone(tmp_path):
    """A restart uses the same user; only the owner can read the token file."""
    first = read_or_create_token(tmp_path / "token")
    assert read_or_create_token(tmp_path / "token") == first
    assert len(first) >= 32
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600


def test_an_empty_token_file_is_named(tmp_path):
    """Another token would be a user without persons: an operator has to decide."""
    (tmp_path / "token").touch()
    with pytest.raises(StartError, match=r"token is empty; put the token"):
        read_or_create_token(tmp_path / "token")


def test_a_token_that_cannot_be_kept_is_no_fault_of_facend(tmp_path):
    """The folder is gone, the disk is full: an error that names the file."""
    with pytest.raises(StartError, match=r"gone/token: the token of this box's user cannot be kept there"):
        read_or_create_token(tmp_path / "gone" / "token")
