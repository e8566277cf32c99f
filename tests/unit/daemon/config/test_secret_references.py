import pytest

from daemon.config.secret_references import SecretFault, resolve_references


def test_references_are_filled_in_however_deep(tmp_path):
    """Environment, file and credential references are replaced, also within a longer text."""
    (tmp_path / "token").write_text("t0ken\nsecond line\n")
    environment = {"USERNAME": "cam", "CREDENTIALS_DIRECTORY": str(tmp_path)}
    raw = {
        "cameras": [{"url": "rtsp://${env:USERNAME}:x@host/1", "password": "${credential:token}"}],
        "number": 5,
        "plain": f"${{file:{tmp_path}/token}}",
    }
    faults: list[SecretFault] = []
    assert resolve_references(raw, environment, faults) == {
        "cameras": [{"url": "rtsp://cam:x@host/1", "password": "t0ken"}],
        "number": 5,
        "plain": "t0ken",
    }
    assert faults == []


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("${env:NOT_THERE}", "no environment variable NOT_THERE"),
        ("${file:/not/there}", "cannot be read"),
        ("${credential:camera}", "LoadCredential"),
    ],
)
def test_a_reference_that_leads_nowhere_says_which_and_where(reference, said):
    """The fault has the key, the reference and what is missing."""
    faults: list[SecretFault] = []
    assert resolve_references({"cameras": [{"password": reference}]}, {}, faults) == {
        "cameras": [{"password": ""}]
    }
    assert [fault.key for fault in faults] == [("cameras", 0, "password")]
    assert faults[0].text.startswith(reference)
    assert said in faults[0].text
    assert faults[0].not_passed == ("credential" in reference)


def test_a_credential_cannot_leave_its_folder(tmp_path):
    """A name with a slash is refused."""
    faults: list[SecretFault] = []
    resolve_references("${credential:../shadow}", {"CREDENTIALS_DIRECTORY": str(tmp_path)}, faults)
    assert "plain name" in faults[0].text
