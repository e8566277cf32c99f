"""Splits URLs into public and secret parts, and masks them; for cameras, servers and webhooks."""

import re
from ipaddress import ip_address
from itertools import pairwise
from typing import NamedTuple
from urllib.parse import unquote

from pipeline.base.secret_names import is_secret_name, is_secret_parameter

HIDDEN = "***"
AMBIGUOUS = (
    "it is unclear where the password ends and the host begins: percent-encode the password, or use user = "
    "and password =; an @ in the path reads %40"
)

_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]{0,20}"
_START = re.compile(rf"\s*{_SCHEME}://")
_NO_SLASHES = re.compile(rf"\s*({_SCHEME}):[/\\]*(?=[^/\\\s])")
"""URLs with a missing slash or a backslash. They are refused, but still have to be masked in the error."""
_NO_SCHEME = re.compile(
    r"\s*(//(?=[^/\s]\S*@)|[A-Za-z][A-Za-z0-9+.-]{1,20}[^\w\s@]{0,3}//(?=[^/\s:@]+:\S*@)|(?=[^/\s:@]+:\S*@))"
)
"""URLs without a scheme, or with a mistyped one, such as `rtsp//` and `rtsp;//`."""
_HOST = re.compile(r"(\[[^\]\s]*\]|[^\[\]:/?#@,\s\\]+)(?::[0-9]{1,5})?(?=[/?#,]|$)")
_PORT = re.compile(r"[^:]*(?::[0-9]{0,5})?")
_PAIR = re.compile(r"(?<![^/&;?=#:])([^/&;?=#:]++)[=:]")
_LOGIN_SEGMENT = re.compile(r"(?:^|/)[^/=:]+:[^/=:]+(?=/|$)")
_NAMING_SEGMENTS = frozenset({"user", "username", "usr", "login"})
_LOGIN_SEGMENTS = frozenset({"admin", "administrator", "root"})
"""User names behind which some cameras want the password as a segment of its own."""
_COMMIT = re.compile(r"/(?:blob|raw|tree|commit)/[0-9a-f]{40}/")
"""The commit in a link to a file of a public repository, such as those of the model packs."""
_RUN = re.compile(r"[A-Za-z0-9]{16,}")
_REST_OF_LINE = re.compile(rf"{_SCHEME}:[/\\]{{1,2}}[^\r\n]+")
_NEXT = re.compile(rf"(?<=.){_SCHEME}://")
_OPEN_LOGIN = re.compile(
    rf"{_SCHEME}:[/\\]{{1,2}}[^/?#@\s]{{0,512}}(?::(?![0-9]{{1,5}}(?:[/?#,\s]|$))[^@]{{0,512}})?"
)
"""A URL up to the middle of its login: a second URL after it may be part of the password."""
_TOKEN = re.compile(r"[^\s\"'<>]*")
_SENTENCE_END = re.compile(r"[:;,.!?)}\"'`|\\]+$")
"""Punctuation of the text around a URL, which is not part of its host."""
_MAX_LENGTH = 8192
"""Maximum length of URLs whose path is searched for secrets; the whole path of a longer URL is hidden."""


class UrlError(ValueError):
    """An unusable URL; the message names the fault, never the URL."""


class SplitUrl(NamedTuple):
    """The public and the secret parts of a URL."""

    public: str
    """Without user and password; a path or a query that carries a secret is replaced by ***."""
    user: str | None
    """Percent-decoded."""
    password: str | None
    """Percent-decoded."""
    secret_end: str | None
    """The text at the end of the URL that *** replaces in `public`; None without a secret."""


def split_url(url: str) -> SplitUrl:
    """Separate user, password and secrets in path, query and fragment from a URL.

    Unencoded @, ?, # and / in a password are accepted if only one interpretation has a valid host.

    Raises:
        UrlError: several interpretations have a valid host.
    """
    start, ends = _user_info_ends(url)
    if len(ends) > 1:
        raise UrlError(AMBIGUOUS)
    public, user, password = url, None, None
    if ends and ends[0] > start:
        name, colon, secret = url[start : ends[0] - 1].partition(":")
        user, password = unquote(name), unquote(secret) if colon else None
        if password is None and ":" in user:  # the colon was percent-encoded as well
            user, _, password = user.partition(":")
        public = url[:start] + url[ends[0] :]
    hidden_from = _secret_start(public)
    if hidden_from is None:
        return SplitUrl(public, user, password, None)
    return SplitUrl(public[:hidden_from] + HIDDEN, user, password, public[hidden_from:])


def joined(public: str, secret_end: str | None) -> str:
    """The URL with the secret end that `split_url` separated."""
    return public if secret_end is None else public.removesuffix(HIDDEN) + secret_end


def holds_secret(url: str) -> bool:
    """Whether the URL has a user, a password or a parameter with a secret name."""
    try:
        parts = split_url(url)
    except UrlError:
        return True
    return parts.user is not None or parts.password is not None or parts.secret_end is not None


def mask_url(url: str) -> str:
    """Replace user and password, and a path or a query that contains a secret, by ***.

    In an ambiguous URL, everything up to the last @ is replaced.
    """
    start, ends = _user_info_ends(url)
    end = ends[-1] if ends else start
    public = url[:start] + url[end:]
    if start == end > 0 and not _is_authority(re.split(r"[/?#]", url[start:], maxsplit=1)[0]):
        return url[:start] + HIDDEN
    hidden_from = _secret_start(public)
    if hidden_from is None:
        hidden_from = _random_start(public)
    if hidden_from is not None:
        public = public[:hidden_from] + HIDDEN
    return public if start == end else f"{url[:start]}{HIDDEN}@{public[start:]}"


def mask_urls(text: str) -> str:
    """Mask every URL in free text."""
    if ":/" not in text and ":\\" not in text:
        return text
    return _REST_OF_LINE.sub(lambda found: _mask_line(found[0]), text)


def _mask_line(line: str) -> str:
    """Mask every URL in a line that begins with one."""
    starts, last_at = [0], line.rfind("@")
    for found in _NEXT.finditer(line):
        if found.start() > last_at or not _OPEN_LOGIN.fullmatch(line, starts[-1], found.start()):
            starts.append(found.start())
    return "".join(_mask_first(line[start:end]) for start, end in pairwise([*starts, len(line)]))


def _mask_first(line: str) -> str:
    """Mask the URL at the beginning of a line, up to its last @: a password may contain spaces and quotes."""
    found = _TOKEN.match(line, max(line.rfind("@"), 0))
    end = found.end() if found else len(line)
    if "@" in line and (punctuation := _SENTENCE_END.search(line, 0, end)):
        end = punctuation.start()
    if line.count("]", line.rfind("@") + 1, end) > line.count("[", line.rfind("@") + 1, end):
        end = line.rfind("]", 0, end)
    return mask_url(line[:end]) + line[end:]


def origin(url: str) -> str:
    """Scheme and host only: the path of a webhook is often its secret."""
    masked = mask_url(url)
    start = _host_start(masked)
    if start is None:
        return HIDDEN
    host = re.split(r"[/?#]", masked[start:], maxsplit=1)[0]
    return masked if masked[start:].rstrip("/") == host else f"{masked[:start]}{host}/{HIDDEN}"


def looks_random(text: str) -> bool:
    """Whether the text holds 16 or more letters and digits in a row, as generated keys do."""
    runs = _RUN.findall(text)
    return any(any(c.isdigit() for c in run) and any(c.isalpha() for c in run) for run in runs)


def _user_info_ends(url: str) -> tuple[int, list[int]]:
    """The position where user info begins, and all positions where it may end.

    It ends after an @, or at its beginning if there is no user info.

    By RFC 3986 it ends at the first /, ? or #, but passwords are often written with these characters. Each
    position before a valid host is a possible interpretation. A URL that begins with an IP address has no
    user info, and in a masked URL it ends at the first @.
    """
    start = _host_start(url)
    if start is None:
        return 0, []
    if url.startswith(f"{HIDDEN}@", start):
        return start, [start + len(HIDDEN) + 1]
    places = [start, *(start + found.end() for found in re.finditer("@", url[start:]))]
    hosts = {place: found[1] for place in places if (found := _HOST.match(url, place))}
    if not hosts:
        return start, places[-1:]
    return start, [start] if _is_address(hosts.get(start, "")) else list(hosts)


def _is_authority(text: str) -> bool:
    """Whether hosts with ports are all that it may be; otherwise it may be a login whose @ is missing."""
    hosts = (host.rpartition("]")[2] if host.startswith("[") else host for host in text.split(","))
    return all(_PORT.fullmatch(host) or _is_address(host) for host in hosts)


def _is_address(host: str) -> bool:
    try:
        ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return host.lower() == "localhost"
    return True


def _secret_start(url: str) -> int | None:
    """Start of the path, query or fragment that contains a secret; None without a secret.

    Some recorders expect user and password in the path: rtsp://host/user=admin_password=secret_channel=1.sdp
    """
    start = _host_start(url)
    if start is None:
        return None
    if len(url) > _MAX_LENGTH:
        return start + len(re.split(r"[/?#]", url[start:], maxsplit=1)[0])
    before, mark, fragment = url[start:].partition("#")
    place, question, query = before.partition("?")
    host, slash, path = place.partition("/")
    if slash and _path_names_secret(unquote(path)):
        return start + len(host) + 1
    if question and _names_secret(unquote(query)):
        return start + len(place) + 1
    if mark and _names_secret(unquote(fragment)):
        return start + len(before) + 1
    return None


def _random_start(url: str) -> int | None:
    """Start of a path that looks like a generated key; None if it does not. Only masked, never refused."""
    start = _host_start(url)
    if start is None:
        return None
    host = re.split(r"[/?#]", url[start:], maxsplit=1)[0]
    path = _COMMIT.sub("/", url[start + len(host) :])
    return start + len(host) + 1 if looks_random(path) else None


def _path_names_secret(path: str) -> bool:
    segments = [segment for segment in path.split("/") if segment]
    return (
        _names_secret(path)
        or _LOGIN_SEGMENT.search(path) is not None
        or any(
            ((is_secret_name(name) or name.lower() in _NAMING_SEGMENTS) and "=" not in name + value)
            or (name.lower() in _LOGIN_SEGMENTS and "." not in value)
            for name, value in pairwise(segments)
        )
    )


def _names_secret(text: str) -> bool:
    return any(is_secret_parameter(key) for key in _PAIR.findall(text))


def _host_start(url: str) -> int | None:
    """The position where user info or host begin; None for a file."""
    found = _START.match(url) or _NO_SLASHES.match(url) or _NO_SCHEME.match(url)
    if found is None:
        return None
    start = found.end()
    return None if url[:start].strip().rstrip("/\\").lower() == "file:" else start
