"""The systemd files: what systemd itself thinks of them, and whether our parts work inside the sandbox."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.errors import SettingsError

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNIT = (SYSTEMD / "facend.service").read_text()


def test_the_unit_has_no_fault(tmp_path: Path) -> None:
    """`systemd-analyze verify` finds nothing to say."""
    result = _systemd("systemd-analyze", "verify", "--man=no", str(_unit(tmp_path)))
    assert (result.returncode, result.stdout) == (0, "")


def test_the_unit_exposes_little(tmp_path: Path) -> None:
    """`systemd-analyze security` gives an exposure of at most 2.0."""
    result = _systemd("systemd-analyze", "security", "--offline=true", "--no-pager", str(_unit(tmp_path)))
    found = re.search(r"Overall exposure level for facend\.service: (\S+)", result.stdout)
    assert found, result.stdout
    assert float(found[1]) <= 2.0, "\n".join(
        line for line in result.stdout.splitlines() if line.startswith("✗")
    )


def test_wrong_settings_are_not_restarted() -> None:
    """The exit status of bad settings is the one that systemd does not restart."""
    assert _setting("RestartPreventExitStatus") == [str(SettingsError.exit_status)]
    assert _setting("Restart") == ["on-failure"]


def test_the_stop_is_facends_own() -> None:
    """systemd's signal goes to the daemon alone, which ends its MongoDB when everything is stored."""
    assert _setting("KillMode") == ["mixed"]


def test_trouble_at_the_start_is_tried_again_for_ever() -> None:
    """No network yet, a full disk: nobody has to come and start the service by hand."""
    assert _setting("StartLimitIntervalSec") == ["0"]


def test_the_watchdog_asks_for_the_report_of_all_threads() -> None:
    """Its signal is the one for which the daemon writes where each thread was (daemon/runtime/crashes.py)."""
    assert _setting("WatchdogSignal") == ["SIGQUIT"]


def test_there_is_time_to_stop() -> None:
    """systemd waits longer than the 10 s in which the daemon ends by itself."""
    assert int(_setting("TimeoutStopSec")[0]) > 10


def test_the_service_runs_the_installed_program() -> None:
    """The unit starts what install.sh installs, with the settings that it puts there."""
    install = (SYSTEMD / "install.sh").read_text()
    program, *arguments = _setting("ExecStart")[0].split()
    home, settings = "/opt/facend", "/etc/facend/settings.toml"
    assert program == f"{home}/venv/bin/facend"
    assert arguments == ["run", "--settings", settings]
    assert f"home={home}\n" in install
    assert f'"$root{settings}"' in install


def test_dashboard_alerts_and_pages_are_installed_beside_the_program(tmp_path: Path) -> None:
    """Every page that an alert or another page links to is there, and uninstalling takes all of it away."""
    share = tmp_path / "usr/local/share/facend"
    assert '"$root/usr/local/share/facend"' in (SYSTEMD / "install.sh").read_text()
    subprocess.run([SYSTEMD / "install-share.sh", share], check=True, timeout=60)
    assert json.loads((share / "dashboards/facend.json").read_text())["panels"]
    named = set(re.findall(r"runbook_url: ([^#\s]+)", (share / "dashboards/rules.yml").read_text()))
    assert named and all((share / page).is_file() for page in named)
    for page in (share / "README.md", *(share / "docs").glob("*.md")):
        for link in re.findall(r"\]\((?!https?:)([^)#:]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"
    environment = {**os.environ, "DESTDIR": str(tmp_path)}
    subprocess.run([SYSTEMD / "uninstall.sh"], check=True, timeout=60, env=environment, capture_output=True)
    assert not share.exists()


def test_man_page_and_completion_are_installed_and_removed(tmp_path: Path) -> None:
    """They lie where man and the shells look for them, and uninstalling takes them away."""
    share = tmp_path / "usr/local/share"
    install = (SYSTEMD / "install.sh").read_text()
    assert '.ci/man "$root/usr/local/share/man/man1/facend.1"' in install
    assert '.ci/completion "$new/bin/python" "$root/usr/local/share"' in install
    ci = SYSTEMD.parent / ".ci"
    page = share / "man/man1/facend.1"
    subprocess.run([sys.executable, ci / "man", page], check=True, timeout=60)
    subprocess.run([ci / "completion", sys.executable, share], check=True, timeout=60, cwd=SYSTEMD.parent)
    scripts = (
        share / "bash-completion/completions/facend",
        share / "zsh/site-functions/_facend",
        share / "fish/vendor_completions.d/facend.fish",
    )
    assert all("_FACEND_COMPLETE" in script.read_text() for script in scripts)
    environment = {**os.environ, "DESTDIR": str(tmp_path)}
    subprocess.run([SYSTEMD / "uninstall.sh"], check=True, timeout=60, env=environment, capture_output=True)
    assert not any(path.exists() for path in (page, *scripts))


@pytest.mark.parametrize("folder", ["plain", "Büro & co", "a|b", "it's [1]*", "x\\1 $HOME"])
def test_an_environment_is_built_under_another_path(tmp_path: Path, folder: str) -> None:
    """The scripts of an environment in any folder get the path in which it is going to be used."""
    venv, final = tmp_path / folder / "venv.new", "/opt/facend/venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True, timeout=120)
    script = '#!/bin/sh\n\'\'\'exec\' "{}/bin/python" "$0" "$@"\n'
    (venv / "bin/tool").write_text(script.format(venv))
    subprocess.run([sys.executable, SYSTEMD.parent / ".ci/move_venv", venv, final], check=True, timeout=60)
    assert (venv / "bin/tool").read_text() == script.format(final)
    assert re.search(
        r"""^VIRTUAL_ENV=["']?/opt/facend/venv["']?$""", (venv / "bin/activate").read_text(), re.M
    )


def test_a_relative_destination_is_relative_to_the_caller(tmp_path: Path) -> None:
    """DESTDIR=package is the folder where the command is called, whatever CDPATH says."""
    (tmp_path / "My package/opt/facend").mkdir(parents=True)
    environment = {**os.environ, "DESTDIR": "My package", "CDPATH": str(tmp_path)}
    subprocess.run([SYSTEMD / "uninstall.sh"], check=True, timeout=60, cwd=tmp_path, env=environment)
    assert not (tmp_path / "My package/opt/facend").exists()
    subprocess.run([SYSTEMD / "install-share.sh", "My share"], check=True, timeout=60, cwd=tmp_path)
    assert (tmp_path / "My share/settings.toml").is_file()


def test_the_user_may_open_usb_cameras(tmp_path: Path) -> None:
    """systemd-sysusers makes the service's user and puts it into the group of /dev/video*."""
    (tmp_path / "etc").mkdir()
    result = _systemd("systemd-sysusers", f"--root={tmp_path}", str(SYSTEMD / "facend.sysusers"))
    assert result.returncode == 0, result.stdout
    user = next(line for line in _lines(tmp_path / "etc/passwd") if line.startswith("facend:"))
    assert user.split(":")[5:] == ["/var/lib/facend", "/usr/sbin/nologin"]
    group = next(line for line in _lines(tmp_path / "etc/group") if line.startswith("video:"))
    assert group.split(":")[3] == "facend"


IN_THE_SANDBOX = """
import asyncio, ctypes, errno, mmap, sys
from pathlib import Path

PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
if ctypes.CDLL(None).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
    raise SystemExit(77)
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    raise SystemExit("memory was both writable and executable")
except PermissionError:
    pass

import av, cv2, insightface, motor, numpy, onnx, onnxruntime

frame = av.VideoFrame.from_ndarray(numpy.zeros((720, 1280, 3), numpy.uint8), format="bgr24").reformat(
    format="yuv420p"
)
small = frame.reformat(width=640, height=360, format="bgr24", interpolation="FAST_BILINEAR")
assert small.to_ndarray().shape == (360, 640, 3)

kind, node = onnx.TensorProto.FLOAT, onnx.helper.make_node("MatMul", ["a", "a"], ["b"])
shape = [64, 64]
graph = onnx.helper.make_graph(
    [node], "g",
    [onnx.helper.make_tensor_value_info("a", kind, shape)],
    [onnx.helper.make_tensor_value_info("b", kind, shape)],
)
model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
(product,) = session.run(None, {"a": numpy.ones(shape, numpy.float32)})
assert product[0, 0] == 64

from store.mongod.embedded import PrivateMongod
from store.mongod.program import find_mongod

async def main():
    async with PrivateMongod(Path(sys.argv[1]), find_mongod).running():
        pass

asyncio.run(main())
"""


def test_our_parts_live_without_writable_code(tmp_path: Path) -> None:
    """Under MemoryDenyWriteExecute the models, the scaler and the private mongod still work.

    The kernel switch that systemd uses for it is set by the child itself, and mongod inherits it.
    """
    assert _setting("MemoryDenyWriteExecute") == ["yes"]
    result = subprocess.run(
        [sys.executable, "-c", IN_THE_SANDBOX, str(tmp_path / "mongod")],
        cwd=SYSTEMD.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    if result.returncode == 77:
        pytest.skip("this kernel has no PR_SET_MDWE (Linux 6.3)")
    assert result.returncode == 0, result.stdout


def _unit(folder: Path) -> Path:
    """The unit with a program that exists here: systemd looks whether it may be run."""
    path = folder / "facend.service"
    path.write_text(
        UNIT.replace("ExecStart=/opt/facend/venv/bin/facend", f"ExecStart={shutil.which('true')}")
    )
    return path


def _setting(key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", UNIT, re.MULTILINE)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def _systemd(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of systemd's programs. Skips, loudly, where it is missing; with CI=true that is a failure."""
    if shutil.which(program) is None:
        message = f"NO {program}: this test needs it: apt-get install -y --no-install-recommends systemd"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return subprocess.run(
        [program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
