from collections.abc import AsyncIterator

import httpx
import pytest

from daemon.http.api.app import api_route
from daemon.http.api.services import ApiSources
from daemon.http.server import application, serving
from daemon.runtime.metrics import Metrics
from store import Context, User
from tests.api import Client, report
from tests.health import Healthy


@pytest.fixture
async def user(ctx: Context) -> User:
    return await ctx.users.add({"token": "the owner's token"})


@pytest.fixture
async def http(ctx: Context, user: User) -> AsyncIterator[httpx.AsyncClient]:
    sources = ApiSources(lambda: (ctx, user["_id"]), report)
    app = application(Metrics(version="1", pack="p", runtime="r").registry, Healthy(), [api_route(sources)])
    async with (
        serving(app, "127.0.0.1", 0) as address,
        httpx.AsyncClient(base_url=address, timeout=60) as client,
    ):
        yield client


@pytest.fixture
async def admin(http: httpx.AsyncClient, user: User) -> Client:
    return Client(http, Authorization=f"Token {user['token']}")
