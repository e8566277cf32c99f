"""Filters that a client sends to a plugin's handler, which passes them on."""

from pathlib import Path

import httpx

from store import Context
from tests.mongo import StoreArguments
from tests.plugins import site, written

PLUGIN = """
from daemon.plugins import BaseHandler

class Persons(BaseHandler):
    async def post(self):
        return await self.ctx.persons.find(self.user, self.json())

def activate(app, ctx, options):
    app.add_handlers(".*", [("/persons", Persons)])
"""


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_a_client_cannot_ask_for_too_much(store_settings: StoreArguments, tmp_path: Path) -> None:
    """A slow query and one with too many documents have other errors than an unavailable MongoDB."""
    settings = store_settings.settings.model_copy(update={"query_timeout_seconds": 0.3})
    async with Context.open(settings, store_settings.persons, data_dir=store_settings.data_dir) as ctx:
        user = await ctx.users.add({})
        note = "a" * 45 + "!"
        slow = [{"_id": n, "owner": user["_id"], "note": note, "schema": 1} for n in range(1, 1001)]
        await ctx.database["persons"].insert_many(slow)
        folder = written(tmp_path / "plugins", {"api": PLUGIN})
        async with site(ctx, user, folder, max_documents=100) as web:
            slow_answer = await web.ask("POST", "/persons", user, json={"note": {"$regex": "(a+)+$"}})
            assert code(slow_answer) == (400, "query_timeout")
            assert code(await web.ask("POST", "/persons", user, json={})) == (400, "bad_value")
            page = await web.ask("POST", "/persons", user, json={"_id": {"$lte": 100}})
            assert len(page.json()) == 100
            assert (await web.status())["api"]["failures"] == 0
