"""What programs that Facend starts see of its environment."""

from pipeline.base.child_environment import PIP, child_environment

OURS = {
    "PATH": "/bin",
    "LC_ALL": "C",
    "DOOR_PASSWORD": "hunter2",
    "MONGODB_URL": "mongodb://u:hunter2@host",
    "PIP_INDEX_URL": "https://index.example",
    "https_proxy": "http://proxy.example",
    "MY_PATH": "hunter2",
}


def test_secrets_stay_with_us() -> None:
    """Only variables that are known to be needed pass, by their whole name."""
    assert child_environment(environment=OURS) == {"PATH": "/bin", "LC_ALL": "C"}


def test_pip_keeps_its_configuration() -> None:
    """The index, proxies and certificates of this machine."""
    passed = child_environment(PIP, OURS)
    assert passed.keys() == {"PATH", "LC_ALL", "PIP_INDEX_URL", "https_proxy"}
