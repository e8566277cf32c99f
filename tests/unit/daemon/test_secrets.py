import pytest

from daemon.secrets import SecretError, filled_in


def test_references_are_filled_in_however_deep(tmp_path):
    """Environment, file and credential references are replaced, also within a longer text."""
    (tmp_path / "token").write_text("t0ken\nsecond line\n")
    environment = {"USERNAME": "cam", "CREDENTIALS_DIRECTORY": str(tmp_path)}
    raw = {
        "cameras": [{"url": "rtsp://${env:USERNAME}:x@host/1", "password": "${credential:token}"}],
        "number": 5,
        "plain": f"${{file:{tmp_path}/token}}",
    }
    assert filled_in(raw, environment) == {
        "cameras": [{"url": "rtsp://cam:x@host/1", "password": "t0ken"}],
        "number": 5,
        "plain": "t0ken",
    }


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("${env:NOT_THERE}", "no environment variable NOT_THERE"),
        ("${file:/not/there}", "cannot be read"),
        ("${credential:camera}", "LoadCredential"),
    ],
)
def test_a_reference_that_leads_nowhere_says_which(reference, said):
    """The error names the reference and what is missing."""
    with pytest.raises(SecretError) as caught:
        filled_in(reference, {})
    assert reference in str(caught.value)
    assert said in str(caught.value)


def test_a_credential_cannot_leave_its_folder(tmp_path):
    """A name with a slash is refused."""
    with pytest.raises(SecretError, match="plain name"):
        filled_in("${credential:../shadow}", {"CREDENTIALS_DIRECTORY": str(tmp_path)})
