"""Serves requests to plugins: routing, authentication, and responses to errors."""

import asyncio
from collections.abc import Mapping, Sequence

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from daemon.config.settings import PluginsSettings
from daemon.http.errors import HttpError, expected_answer
from daemon.http.forms import is_multipart, multipart
from daemon.http.requests import authenticated, read_body, request_for_handler
from daemon.http.responses import checked
from daemon.plugins.errors import OverdueFault
from daemon.plugins.handlers import METHODS, error_answer
from daemon.plugins.plugin import Plugin
from daemon.plugins.routing import Rule
from store import Context, StoreError
from store.mongo.query_limits import for_client

log = structlog.get_logger(__name__)

Arguments = tuple[tuple[str, ...], dict[str, str]]


class Endpoint:
    """ASGI application for all paths that are not the daemon's own."""

    def __init__(self, settings: PluginsSettings) -> None:
        self._settings = settings
        self._ctx: Context | None = None
        self._rules: Sequence[Rule] = ()
        self._plugins: Mapping[str, Plugin] = {}

    def open(self, ctx: Context, rules: Sequence[Rule], plugins: Mapping[str, Plugin]) -> None:
        self._ctx, self._rules, self._plugins = ctx, rules, plugins

    def close(self) -> None:
        self._ctx = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> ASGIApp:
        try:
            ctx = self._open_context()
            rule, arguments = self._rule_for(request)
            return await self._handle(ctx, request, rule, arguments)
        except (HttpError, StoreError) as error:
            # A StoreError here was raised by the lookup of the user, not by the plugin.
            return error_answer(expected_answer(error) or _fault_answer(error))

    def _open_context(self) -> Context:
        if self._ctx is not None:
            return self._ctx
        if self._settings.dirs:
            raise HttpError(503, "not_ready", "the plugins wait for the store to open", {"retry-after": "5"})
        raise HttpError(404, "not_found", "there is nothing at this path")

    def _rule_for(self, request: Request) -> tuple[Rule, Arguments]:
        host = request.url.hostname or ""
        for rule in self._rules:
            if (arguments := rule.arguments(host, request.scope["path"])) is not None:
                return rule, arguments
        raise HttpError(404, "not_found", "there is nothing at this path")

    async def _handle(self, ctx: Context, request: Request, rule: Rule, arguments: Arguments) -> ASGIApp:
        user = await authenticated(ctx, request)
        name = request.method.lower()
        known = [method for method in METHODS if hasattr(rule.handler, method)]
        if name not in known:
            allowed = ", ".join(known).upper()
            text = f"{request.method} is not possible here; possible: {allowed}"
            raise HttpError(405, "method_not_allowed", text, {"allow": allowed})
        seconds = self._settings.request_timeout_seconds
        body = await read_body(request, self._settings.max_body_bytes, seconds)
        request = request_for_handler(request, body)
        content_type = request.headers.get("content-type", "")
        form = await asyncio.to_thread(multipart, content_type, body) if is_multipart(content_type) else None

        async def work() -> Response:
            positional, named = arguments
            with for_client(self._settings.max_documents):
                handler = rule.handler(ctx, user, request, body, form)
                handler.initialize(**rule.options)
                return handler.finished(await getattr(handler, name)(*positional, **named))

        plugin = self._plugins[rule.plugin]
        where = f"{request.method} {request.scope['path']}"
        try:
            response: Response = await plugin.caller.call(work, seconds=seconds)
        except Exception as error:  # noqa: BLE001 - foreign code may raise anything; it becomes an answer
            return _error(plugin, where, error)
        if type(response) is Response and response.background is None:
            return response
        return _PluginResponse(plugin, where, response)


class _PluginResponse:
    """A response made by the plugin, such as a stream; the plugin's code runs while it is sent."""

    def __init__(self, plugin: Plugin, where: str, response: Response) -> None:
        self._plugin = plugin
        self._where = where
        self._response = response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        async def work() -> None:
            await self._response(scope, receive, noted)

        try:
            await self._plugin.caller.call(work)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - foreign code may raise anything
            answer = _error(self._plugin, self._where, error)
            if not started:
                await answer(scope, receive, send)
            # Otherwise the server closes the connection, which tells the client that the body is incomplete.


def _error(plugin: Plugin, where: str, error: Exception) -> Response:
    """The response to an exception of a handler; a fault is logged and counted for the plugin."""
    if (expected := expected_answer(error)) is not None:
        try:
            return checked(error_answer(expected), head=False)
        except Exception as fault:  # noqa: BLE001 - code and message are the plugin's, and may be anything
            error = fault
    plugin.failed(where, error)
    return error_answer(_fault_answer(error))


def _fault_answer(error: Exception) -> HttpError:
    """The response to a fault of the plugin, without internal details."""
    if isinstance(error, OverdueFault):
        return HttpError(504, "timeout", f"the handler {error}")
    return HttpError(500, "internal", "the handler failed; the log says why")
