"""A real replica set of three members for tests, whose primary can be killed."""

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pymongo
from pymongo.errors import PyMongoError

from store.mongod.program import find_mongod


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ReplicaSet:
    """Three mongods on loopback; elections take about two seconds."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="facend-rs-"))
        self.ports = [_free_port() for _ in range(3)]
        self.processes = {port: self._start(port) for port in self.ports}
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        self.url = f"mongodb://{hosts}/?replicaSet=rs"
        self._initiate()

    def _start(self, port: int) -> subprocess.Popen[bytes]:
        data = self.folder / str(port)
        data.mkdir()
        command = [
            *(str(find_mongod()), "--dbpath", str(data), "--port", str(port), "--bind_ip", "127.0.0.1"),
            *("--replSet", "rs", "--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "64", "--quiet"),
            *("--nounixsocket", "--wiredTigerEngineConfigString", "log=(file_max=16MB,prealloc=false)"),
        ]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def _initiate(self) -> None:
        members = [{"_id": number, "host": f"127.0.0.1:{port}"} for number, port in enumerate(self.ports)]
        for port in self.ports:  # the first one contacts the others when it initiates the set
            with pymongo.MongoClient(f"mongodb://127.0.0.1:{port}/?directConnection=true") as client:
                client.admin.command("ping")
        config = {"_id": "rs", "members": members, "settings": {"electionTimeoutMillis": 2000}}
        with pymongo.MongoClient(f"mongodb://127.0.0.1:{self.ports[0]}/?directConnection=true") as client:
            client.admin.command("replSetInitiate", config)
        self.primary()

    def primary(self) -> int:
        """The port of the primary, once there is one."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for port in self.ports:
                if self.processes[port].poll() is not None:
                    continue
                url = f"mongodb://127.0.0.1:{port}/?directConnection=true"
                try:
                    with pymongo.MongoClient(url, serverSelectionTimeoutMS=1000) as client:
                        if client.admin.command("hello")["isWritablePrimary"]:
                            return port
                except PyMongoError:
                    continue
            time.sleep(0.1)
        raise TimeoutError("no primary was elected")

    def kill_primary(self) -> int:
        port = self.primary()
        self.processes[port].send_signal(signal.SIGKILL)
        self.processes[port].wait()
        return port

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
        shutil.rmtree(self.folder)
