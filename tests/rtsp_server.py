#!/usr/bin/python3
"""Cameras for the tests: a real RTSP server that plays H.264 clips for ever, without encoding them again.

    rtsp_server.py --camera hall=hall.mp4 --camera door=door.mp4 [--port 8554]
                   [--user cam --password secret --auth basic|digest]

The first line on stdout is the port. `/audio` is a camera without a picture. Commands come on stdin, one
a line, and are answered with one line on stdout: `freeze` and `thaw` (the connections stay open, nothing
comes any more), and the end of stdin ends the server, so that none outlives its test. SIGKILL is a camera
whose plug was pulled.

It runs on the system's /usr/bin/python3, because that one has GObject introspection; `tests/rtsp.py` names
the Debian packages.
"""

import argparse
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402 - only after require_version

ENCODED = "video/x-h264,stream-format=byte-stream,alignment=au"
READ_CLIP = f"filesrc name=file ! qtdemux ! h264parse ! {ENCODED} ! appsink name=sink sync=false"
VIDEO = (
    "( appsrc name=source format=time is-live=true "
    # The parser repeats the parameter sets at key frames; the payloader would put them between the slices.
    "! h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96 )"
)
AUDIO = "( audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay0 pt=8 )"
ROLE = "viewer"


class Clip:
    """The encoded pictures of a file, in order."""

    def __init__(self, path):
        pipeline = Gst.parse_launch(READ_CLIP)
        pipeline.get_by_name("file").set_property("location", path)
        sink = pipeline.get_by_name("sink")
        pipeline.set_state(Gst.State.PLAYING)
        self.pictures, self.caps = [], None
        while (sample := sink.emit("pull-sample")) is not None:
            buffer = sample.get_buffer()
            self.caps = sample.get_caps()
            self.pictures.append(GLib.Bytes.new(buffer.extract_dup(0, buffer.get_size())))
        pipeline.set_state(Gst.State.NULL)
        if self.caps is None:
            raise SystemExit(f"{path} holds no H.264 video")
        known, above, below = self.caps.get_structure(0).get_fraction("framerate")
        self.picture_nanoseconds = Gst.SECOND * below // above if known else Gst.SECOND // 25


class Playback:
    """One client's view of a camera: pushes every picture when it is due, stamped with that time."""

    def __init__(self, clip, appsrc, frozen):
        self.clip, self.appsrc, self.frozen = clip, appsrc, frozen
        self.sent = 0
        self.next_due = None
        appsrc.set_property("caps", clip.caps)
        self.timer = GLib.timeout_add(10, self.push_due)

    def push_due(self):
        clock = self.appsrc.get_clock()
        if clock is None or self.appsrc.get_state(0)[1] != Gst.State.PLAYING:
            return True
        now = clock.get_time() - self.appsrc.get_base_time()
        if self.next_due is None or self.frozen():
            self.next_due = now
        if self.frozen():
            return True
        while self.next_due <= now:
            buffer = Gst.Buffer.new_wrapped_bytes(self.clip.pictures[self.sent % len(self.clip.pictures)])
            buffer.pts = buffer.dts = self.next_due
            buffer.duration = self.clip.picture_nanoseconds
            self.next_due += self.clip.picture_nanoseconds
            self.sent += 1
            if self.appsrc.emit("push-buffer", buffer) != Gst.FlowReturn.OK:
                self.timer = 0
                return False
        return True

    def stop(self, _media):
        if self.timer:
            GLib.source_remove(self.timer)
            self.timer = 0


class Camera(GstRtspServer.RTSPMediaFactory):
    def __init__(self, clip, frozen):
        super().__init__()
        self.clip, self.frozen = clip, frozen

    def do_create_element(self, _url):
        return Gst.parse_launch(VIDEO)

    def do_configure(self, media):
        playback = Playback(self.clip, media.get_element().get_by_name("source"), self.frozen)
        media.connect("unprepared", playback.stop)


class Server:
    def __init__(self, port, login):
        self.frozen = False
        self.login = login
        self.server = GstRtspServer.RTSPServer()
        self.server.set_address("127.0.0.1")
        self.server.set_service(str(port))
        if login:
            self.server.set_auth(self.lock(*login))

    @staticmethod
    def lock(user, password, method):
        auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", ROLE)
        if method == "digest":
            auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
            auth.add_digest(user, password, token)
        else:
            auth.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
            auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        return auth

    def mount(self, path, factory):
        if self.login:
            permissions = GstRtspServer.RTSPPermissions()
            for right in ("media.factory.access", "media.factory.construct"):
                permissions.add_permission_for_role(ROLE, right, True)
            factory.set_permissions(permissions)
        self.server.get_mount_points().add_factory(path, factory)

    def obey(self, command):
        if command not in ("freeze", "thaw"):
            return f"unknown command: {command}"
        self.frozen = command == "freeze"
        return command


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--camera", action="append", required=True, metavar="NAME=CLIP")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--user")
    parser.add_argument("--password", default="")
    parser.add_argument("--auth", choices=("basic", "digest"), default="digest")
    return parser.parse_args()


def main():
    args = arguments()
    Gst.init(None)
    server = Server(args.port, (args.user, args.password, args.auth) if args.user else None)
    for camera in args.camera:
        name, _, path = camera.partition("=")
        server.mount(f"/{name}", Camera(Clip(path), lambda: server.frozen))
    audio = GstRtspServer.RTSPMediaFactory()
    audio.set_launch(AUDIO)
    server.mount("/audio", audio)
    if not server.server.attach(None):
        raise SystemExit(f"port {args.port} of 127.0.0.1 is taken")
    loop = GLib.MainLoop()

    def read_command(stdin, _condition):
        line = stdin.readline()
        if not line:
            loop.quit()
            return False
        print(server.obey(line.strip()), flush=True)
        return True

    GLib.io_add_watch(sys.stdin, GLib.PRIORITY_HIGH, GLib.IOCondition.IN | GLib.IOCondition.HUP, read_command)
    print(server.server.get_bound_port(), flush=True)
    loop.run()


if __name__ == "__main__":
    main()
