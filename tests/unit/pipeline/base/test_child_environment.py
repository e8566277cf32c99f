"""Environment variables that child processes get."""

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


def test_child_processes_get_no_secrets() -> None:
    """Only variables with known names are passed on."""
    assert child_environment(environment=OURS) == {"PATH": "/bin", "LC_ALL": "C"}


def test_pip_keeps_its_configuration() -> None:
    """The index, proxies and certificates of this machine."""
    passed = child_environment(PIP, OURS)
    assert passed.keys() == {"PATH", "LC_ALL", "PIP_INDEX_URL", "https_proxy"}
