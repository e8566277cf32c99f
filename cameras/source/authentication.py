"""Answers the authentication challenges of RTSP and HTTP servers: Digest (RFC 7616) and Basic (RFC 7617).

FFmpeg supports Digest with MD5 only, answers the last challenge that a server offers, and sends no login
without a password.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.request import parse_http_list

# MD5 first: in firmware that offers several algorithms, it is the one in use for the longest time.
_HASHES = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}
_PARAMETER = re.compile(r"(?:(?P<scheme>[\w-]+)\s+)?(?P<name>[\w-]+)\s*=\s*(?P<value>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One authentication method that a server offers."""

    scheme: str
    """Lower case."""
    parameters: dict[str, str] = field(default_factory=dict)
    """Names in lower case."""

    @property
    def name(self) -> str:
        """For messages: `Digest SHA-256`, `Basic`."""
        return f"{self.scheme.title()} {self.algorithm}" if self.scheme == "digest" else self.scheme.title()

    @property
    def algorithm(self) -> str:
        return self.parameters.get("algorithm", "MD5").upper()

    @property
    def rank(self) -> int | None:
        """Order of preference, 0 first; None for an unsupported challenge."""
        if self.scheme == "basic":
            return len(_HASHES)
        algorithm = self.algorithm.removesuffix("-SESS")
        return list(_HASHES).index(algorithm) if self.scheme == "digest" and algorithm in _HASHES else None


def challenges(headers: Iterable[str]) -> list[Challenge]:
    """The challenges of all WWW-Authenticate headers; one header may hold several."""
    found: list[Challenge] = []
    for item in (item for header in headers for item in parse_http_list(header)):
        parameter = _PARAMETER.fullmatch(item)
        if parameter is None:
            found.append(Challenge(item.strip().lower()))
            continue
        if parameter["scheme"] is not None or not found:
            found.append(Challenge((parameter["scheme"] or "").lower()))
        found[-1].parameters[parameter["name"].lower()] = _unquote(parameter["value"].strip())
    return found


class Login:
    """User and password, and the challenge that requests answer."""

    def __init__(self, user: str, password: str) -> None:
        """`password` may be empty."""
        self._user = user
        self._password = password
        self._challenge: Challenge | None = None
        self._requests = 0

    def accept(self, offered: Iterable[Challenge]) -> bool:
        """Choose a challenge that the following requests answer; False if none is supported."""
        supported = [(challenge.rank, challenge) for challenge in offered if challenge.rank is not None]
        if not supported:
            return False
        self._challenge = min(supported, key=lambda entry: entry[0] or 0)[1]
        self._requests = 0
        return True

    def authorization(self, method: str, uri: str) -> str | None:
        """Value of the Authorization header; None before the first challenge."""
        if self._challenge is None:
            return None
        if self._challenge.scheme == "basic":
            pair = f"{self._user}:{self._password}".encode()
            return f"Basic {base64.b64encode(pair).decode()}"
        return self._digest(self._challenge, method, uri)

    def _digest(self, challenge: Challenge, method: str, uri: str) -> str:
        def digest(*parts: str) -> str:
            name = _HASHES[challenge.algorithm.removesuffix("-SESS")]
            return hashlib.new(name, ":".join(parts).encode(), usedforsecurity=False).hexdigest()

        realm, nonce = challenge.parameters.get("realm", ""), challenge.parameters.get("nonce", "")
        client_nonce = secrets.token_hex(8)
        key = digest(self._user, realm, self._password)
        if challenge.algorithm.endswith("-SESS"):
            key = digest(key, nonce, client_nonce)
        qops = [qop.strip() for qop in challenge.parameters.get("qop", "").lower().split(",")]
        # The requests have no body.
        request = digest(method, uri) if qops != ["auth-int"] else digest(method, uri, digest(""))
        fields = {"username": self._user, "realm": realm, "nonce": nonce, "uri": uri}
        unquoted: dict[str, str] = {}
        if qops == [""]:
            fields["response"] = digest(key, nonce, request)
        else:
            self._requests += 1
            count, qop = f"{self._requests:08x}", "auth" if "auth" in qops else "auth-int"
            fields["response"] = digest(key, nonce, count, client_nonce, qop, request)
            fields["cnonce"] = client_nonce
            unquoted = {"qop": qop, "nc": count}
        if "algorithm" in challenge.parameters:
            unquoted["algorithm"] = challenge.parameters["algorithm"]
        if "opaque" in challenge.parameters:
            fields["opaque"] = challenge.parameters["opaque"]
        quoted = [f'{name}="{_escape(value)}"' for name, value in fields.items()]
        return "Digest " + ", ".join([*quoted, *(f"{name}={value}" for name, value in unquoted.items())])


def _unquote(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
