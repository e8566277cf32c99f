"""HTTP client for a camera's web server: login, redirects, and translation of refusals to errors."""

import contextlib
import copy
import ssl
from collections.abc import Iterator, Mapping

import httpx

from cameras.errors import Reason, SourceError
from cameras.settings import CameraSettings
from cameras.source.authentication import Login, challenges
from cameras.source.connection_limiter import count_connection, wait_to_connect
from cameras.source.ffmpeg_errors import NO_LOGIN, certificate_error, connection_error
from cameras.source.tls import unreadable_ca_file
from pipeline.base.tls import client_context
from pipeline.base.urls import mask_url

MAX_REDIRECTS = 3

_MAX_REFUSAL_BYTES = 256 * 1024

_REASONS = {
    403: (Reason.UNAUTHORIZED, "the user may not view this stream"),
    404: (Reason.NOT_FOUND, "not found; check the path"),
    410: (Reason.NOT_FOUND, "not found; check the path"),
    429: (Reason.BUSY, "the camera has too many viewers"),
    503: (Reason.BUSY, "the camera has too many viewers"),
}


class HttpClient:
    """Connection to one camera; kept open between requests if the camera allows it."""

    def __init__(self, settings: CameraSettings) -> None:
        """Raises SourceError."""
        self._settings = settings
        self.url = httpx.URL(settings.request_url())
        """After redirects; without user and password."""
        password = settings.password.get_secret_value() if settings.password is not None else ""
        self._login = Login(settings.user, password) if settings.user is not None else None
        self._is_new_connection = False
        """Whether the last request opened a connection."""
        try:
            context = client_context(settings.tls_verify)
        except OSError as error:
            raise certificate_error(settings, unreadable_ca_file(settings, error)) from None
        self._client = httpx.Client(verify=context, trust_env=False, headers={"Accept-Encoding": "identity"})

    def close(self) -> None:
        self._client.close()

    def at(self, url: str) -> "HttpClient":
        """A client for another URL, over the same connections, with the login for the same host only.

        Raises:
            SourceError: this is no URL of a web server.
        """
        other = copy.copy(self)
        other._redirect(url, [])
        return other

    def get(self, headers: dict[str, str] | None = None) -> httpx.Response:
        """The response to a GET request, with its body still to be read; 304 has none.

        Raises:
            SourceError: the camera cannot be reached, or refuses.
        """
        visited = [self.url]
        while True:
            response = self._send(headers or {})
            if response.status_code == 401 and self._login is not None:
                offered = challenges(response.headers.get_list("WWW-Authenticate"))
                if self._login.accept(offered):
                    self._finish(response)
                    response = self._send(headers or {})
            if response.has_redirect_location:
                self._finish(response)
                self._redirect(response.headers["Location"], visited)
                continue
            if response.status_code == httpx.codes.NOT_MODIFIED:
                self._finish(response)
                return response
            if response.is_success and response.status_code != httpx.codes.NO_CONTENT:
                return response
            response.close()
            raise self._refusal_error(response)

    def chunks(self, response: httpx.Response) -> Iterator[bytes]:
        """The body of a response as it arrives. Raises SourceError."""
        try:
            yield from response.iter_raw()
        except httpx.ReadTimeout:
            seconds = self._settings.read_timeout_seconds
            failure = self.error(Reason.STALLED, f"no data for {seconds:g} s")
        except httpx.TransportError:
            failure = self.error(Reason.ENDED, "the camera closed the connection")
        else:
            return
        raise failure

    def _send(self, headers: dict[str, str]) -> httpx.Response:
        login = None
        if self._login is not None:
            login = self._login.authorization("GET", self.url.raw_path.decode("ascii"))
        if login is not None:
            headers = {**headers, "Authorization": login}
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), self._settings.connect_timeout_seconds)
        extensions = {"timeout": timeouts, "trace": self._limit_connections}
        request = self._client.build_request("GET", self.url, headers=headers, extensions=extensions)
        self._is_new_connection = False
        try:
            response = self._client.send(request, stream=True)
        except httpx.TransportError as error:
            if not self._is_new_connection and isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
                # The camera has closed the idle connection.
                return self._send(headers)
            failure = self._connection_error(error)
        else:
            timeouts["read"] = self._settings.read_timeout_seconds  # applies to the body
            return response
        raise failure

    def _limit_connections(self, event: str, _info: Mapping[str, object]) -> None:
        """Wait before httpx connects, also after the camera closed an idle connection without notice."""
        if event == "connection.connect_tcp.started":
            self._is_new_connection = True
            wait_to_connect(self._settings)
        elif event in ("connection.connect_tcp.complete", "connection.connect_tcp.failed"):
            count_connection(self._settings)

    def _finish(self, response: httpx.Response) -> None:
        """Read the rest of a response, so that the connection can be reused; a long body is cut off."""
        read = 0
        with contextlib.suppress(httpx.TransportError):
            for chunk in response.iter_raw():
                read += len(chunk)
                if read > _MAX_REFUSAL_BYTES:
                    break
        response.close()

    def _redirect(self, location: str, visited: list[httpx.URL]) -> None:
        """Follow a redirect. Drops the login for another host, and when leaving TLS."""
        try:
            target = self.url.join(location)
        except httpx.InvalidURL:
            target = httpx.URL("")
        if target.scheme not in ("http", "https") or not target.host:
            raise self.error(Reason.REDIRECT, f"the camera redirects to {mask_url(location)}")
        user, password = target.username, target.password
        target = target.copy_with(username=None, password=None, fragment=None)
        if target in visited:
            raise self.error(Reason.REDIRECT, "the camera redirects in a circle; check the path")
        if len(visited) > MAX_REDIRECTS:
            message = f"the camera redirects more than {MAX_REDIRECTS} times; set url to the final address"
            raise self.error(Reason.REDIRECT, message)
        if target.host != self.url.host or (self.url.scheme == "https" and target.scheme == "http"):
            self._login = Login(user, password) if user else None
        self.url = target
        visited.append(target)

    def _refusal_error(self, response: httpx.Response) -> SourceError:
        status = response.status_code
        phrase = f"{status} {response.reason_phrase}".strip()
        if status == 401:
            offered = challenges(response.headers.get_list("WWW-Authenticate"))
            if self._login is None:
                return self.error(Reason.UNAUTHORIZED, NO_LOGIN)
            if not any(challenge.rank is not None for challenge in offered):
                names = ", ".join(challenge.name for challenge in offered) or "none"
                sentence = f"the camera's login is not supported: it offers {names}"
                return self.error(Reason.UNSUPPORTED, f"{sentence}; allow Digest or Basic in its settings")
            sentence = "wrong user or password, or the user may not view this stream"
            return self.error(Reason.UNAUTHORIZED, sentence)
        fallback = Reason.BROKEN if status >= 500 else Reason.UNSUPPORTED
        reason, sentence = _REASONS.get(status, (fallback, "the camera refuses"))
        return self.error(reason, f"{sentence} ({phrase:.80})")

    def _connection_error(self, error: Exception) -> SourceError:
        if isinstance(error, httpx.TimeoutException):
            return connection_error(TimeoutError(), self._settings)
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return certificate_error(self._settings, cause.verify_message)
            if isinstance(cause, OSError):
                return connection_error(cause, self._settings)
            cause = cause.__cause__ or cause.__context__
        return connection_error(error, self._settings)

    def error(self, reason: Reason, sentence: str) -> SourceError:
        return SourceError(reason, f"{self._settings.masked_url}: {sentence}")
