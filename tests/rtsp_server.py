#!/usr/bin/python3
"""Cameras for the tests: a real RTSP server that loops clips, without encoding them again.

    rtsp_server.py --camera hall=hall.mp4 --camera door=door.mp4 [--clip other=other.mp4] [--port 8554]
                   [--user cam --password secret --auth basic|digest]

Clips are H.264 or H.265 in mp4. The first line on stdout is the port. `/audio` is a camera without
video. It reads commands from stdin, one a line, and answers each with the command's first word on stdout. The
end of stdin ends the server, so that it does not outlive its test. SIGKILL simulates a power loss.

    freeze, thaw           connections stay open, nothing is sent
    mount CAMERA CLIP      another clip, or `audio`, for new connections; also under a new path
    late CAMERA CLIP       as mount, but each connection begins right after the clip's first key frame
    unmount CAMERA         removes the path
    play CAMERA CLIP       another clip of the same codec, also for open connections
    login USER PASSWORD    accepts another login
    cut                    closes all connections; new ones are accepted

It needs the system's /usr/bin/python3, which has GObject introspection; `tests/rtsp.py` names the Debian
packages.
"""

import argparse
import re
import sys
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402 - only after require_version

READ_CLIP = (
    "filesrc name=file ! qtdemux ! {codec}parse "
    "! video/x-{codec},stream-format=byte-stream,alignment=au ! appsink name=sink sync=false"
)
VIDEO = (
    "( appsrc name=source format=time is-live=true "
    # The parser repeats the parameter sets at key frames; the payloader would put them between the slices.
    "! {codec}parse config-interval=-1 ! rtp{codec}pay name=pay0 pt=96 )"
)
AUDIO = "( audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay0 pt=8 )"
ROLE = "viewer"


class Clip:
    """The encoded pictures of a file, in order."""

    def __init__(self, path):
        # hvcC is the mp4 box with H.265 parameter sets.
        self.codec = "h265" if b"hvcC" in Path(path).read_bytes() else "h264"
        self.pictures, self.caps = [], None
        self.read(path)
        if self.caps is None:
            raise SystemExit(f"{path} contains neither H.264 nor H.265 video")
        known, above, below = self.caps.get_structure(0).get_fraction("framerate")
        self.picture_nanoseconds = Gst.SECOND * below // above if known else Gst.SECOND // 25
        self.without_key = GLib.Bytes.new(
            parameter_sets(self.pictures[0].get_data()) + self.pictures[1].get_data()
        )

    def read(self, path):
        pipeline = Gst.parse_launch(READ_CLIP.format(codec=self.codec))
        pipeline.get_by_name("file").set_property("location", path)
        sink = pipeline.get_by_name("sink")
        pipeline.set_state(Gst.State.PLAYING)
        while (sample := sink.emit("pull-sample")) is not None:
            buffer = sample.get_buffer()
            self.caps = sample.get_caps()
            self.pictures.append(GLib.Bytes.new(buffer.extract_dup(0, buffer.get_size())))
        pipeline.set_state(Gst.State.NULL)


def parameter_sets(picture):
    """The SPS and PPS (NAL unit types 7 and 8) of an H.264 key frame."""
    units = re.split(b"\x00?\x00\x00\x01", picture)
    return b"".join(b"\x00\x00\x00\x01" + unit for unit in units if unit and unit[0] & 0x1F in (7, 8))


class Playback:
    """One client's playback of a camera: pushes each picture when it is due, with that time as its
    timestamp."""

    def __init__(self, camera, appsrc, frozen):
        self.camera, self.clip, self.appsrc, self.frozen = camera, camera.clip, appsrc, frozen
        self.sent = 1 if camera.late else 0
        self.next_due = None
        appsrc.set_property("caps", self.clip.caps)
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
        if self.clip is not self.camera.clip:
            self.clip, self.sent = self.camera.clip, 0
            self.appsrc.set_property("caps", self.clip.caps)
        while self.next_due <= now:
            first_of_late = self.camera.late and self.sent == 1
            picture = self.clip.pictures[self.sent % len(self.clip.pictures)]
            buffer = Gst.Buffer.new_wrapped_bytes(self.clip.without_key if first_of_late else picture)
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
    def __init__(self, clip, frozen, late=False):
        super().__init__()
        self.clip, self.frozen, self.late = clip, frozen, late

    def do_create_element(self, _url):
        return Gst.parse_launch(VIDEO.format(codec=self.clip.codec))

    def do_configure(self, media):
        playback = Playback(self, media.get_element().get_by_name("source"), self.frozen)
        media.connect("unprepared", playback.stop)


class Server:
    def __init__(self, port, login):
        self.frozen = False
        self.login = login
        self.clips, self.cameras = {}, {}
        self.server = GstRtspServer.RTSPServer()
        self.server.set_address("127.0.0.1")
        self.server.set_service(str(port))
        if login:
            user, password, method = login
            self.auth = GstRtspServer.RTSPAuth()
            self.digest = method == "digest"
            methods = GstRtsp.RTSPAuthMethod
            self.auth.set_supported_methods(methods.DIGEST if self.digest else methods.BASIC)
            self.let_in(user, password)
            self.server.set_auth(self.auth)

    def let_in(self, user, password):
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", ROLE)
        if self.digest:
            self.auth.add_digest(user, password, token)
        else:
            self.auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)

    @staticmethod
    def end(_server, client):
        client.close()
        return GstRtspServer.RTSPFilterResult.REMOVE

    def mount(self, name, clip, late=False):
        if clip == "audio":
            factory = GstRtspServer.RTSPMediaFactory()
            factory.set_launch(AUDIO)
        else:
            factory = self.cameras[name] = Camera(self.clips[clip], lambda: self.frozen, late)
        if self.login:
            permissions = GstRtspServer.RTSPPermissions()
            for right in ("media.factory.access", "media.factory.construct"):
                permissions.add_permission_for_role(ROLE, right, True)
            factory.set_permissions(permissions)
        self.server.get_mount_points().add_factory(f"/{name}", factory)

    def obey(self, command):
        match command.split():
            case ["freeze" | "thaw" as word]:
                self.frozen = word == "freeze"
            case ["mount" | "late" as word, name, clip]:
                self.mount(name, clip, late=word == "late")
            case ["unmount", name]:
                self.server.get_mount_points().remove_factory(f"/{name}")
            case ["play", name, clip]:
                self.cameras[name].clip = self.clips[clip]
            case ["cut"]:
                self.server.client_filter(self.end)
            case ["login", user, password]:
                self.let_in(user, password)
            case _:
                return f"unknown command: {command}"
        return command.split()[0]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--camera", action="append", required=True, metavar="NAME=CLIP")
    parser.add_argument("--clip", action="append", default=[], metavar="NAME=CLIP", help="for the commands")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--user")
    parser.add_argument("--password", default="")
    parser.add_argument("--auth", choices=("basic", "digest"), default="digest")
    return parser.parse_args()


def main():
    args = arguments()
    Gst.init(None)
    server = Server(args.port, (args.user, args.password, args.auth) if args.user else None)
    for named in (*args.camera, *args.clip):
        name, _, path = named.partition("=")
        server.clips[name] = Clip(path)
        if named in args.camera:
            server.mount(name, name)
    server.mount("audio", "audio")
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
