"""A real upload server for tests: the system's nginx with WebDAV, as a child process."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.daemon_process import free_port

MODULE = Path("/usr/lib/nginx/modules/ngx_http_dav_ext_module.so")
PACKAGES = "nginx-light libnginx-mod-http-dav-ext"
USER, PASSWORD = "facend", "s3cret"

CONFIGURATION = """
load_module {module};
daemon off;
worker_processes 1;
pid "{folder}/nginx.pid";
error_log "{folder}/error.log";
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path "{folder}/body";
  proxy_temp_path "{folder}/proxy";
  fastcgi_temp_path "{folder}/fastcgi";
  uwsgi_temp_path "{folder}/uwsgi";
  scgi_temp_path "{folder}/scgi";
  server {{
    listen 127.0.0.1:{port};
    location /faces/ {{
      root "{folder}/www";
      client_max_body_size 16m;
      dav_methods PUT DELETE MKCOL;
      dav_ext_methods PROPFIND OPTIONS;
      create_full_put_path {make_folders};
      auth_basic pictures;
      auth_basic_user_file "{folder}/users";
    }}
    location /plain/ {{ root "{folder}/www"; }}
  }}
}}
"""


def require_nginx() -> None:
    """Skip the test if nginx is missing; with CI=true fail it."""
    if shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") and MODULE.exists():
        return
    message = f"NO NGINX: these tests need Debian's packages: apt-get install -y {PACKAGES}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


class UploadServer:
    """nginx, which can be stopped and restarted on the same port."""

    def __init__(self, folder: Path, *, make_folders: bool) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/faces/"
        self.plain_url = f"http://127.0.0.1:{port}/plain/"
        self.root = folder / "www" / "faces"
        self.root.mkdir(parents=True)
        (folder / "users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
        self._settings = folder / "nginx.conf"
        self._settings.write_text(
            CONFIGURATION.format(
                module=MODULE, folder=folder, port=port, make_folders="on" if make_folders else "off"
            )
            # If root runs the tests, nginx would by default use a user without access to their folder.
            + ("user root;\n" if os.geteuid() == 0 else "")
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or "nginx"
        self._process = subprocess.Popen([program, "-c", str(self._settings), "-e", "stderr"])
        deadline = time.monotonic() + 20
        while True:
            try:
                httpx.get(self.plain_url, timeout=1)
                return
            except httpx.HTTPError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.05)

    def freeze(self) -> None:
        """Its connections stay open, but nothing is answered."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process is None:
            return
        pid = self._process.pid
        workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for one in (pid, *map(int, workers)):
            os.kill(one, number)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None


@contextmanager
def upload_server(folder: Path, *, make_folders: bool = True) -> Iterator[UploadServer]:
    """A running server. With make_folders=False the client has to create folders with MKCOL."""
    require_nginx()
    server = UploadServer(folder, make_folders=make_folders)
    server.start()
    try:
        yield server
    finally:
        server.stop()
