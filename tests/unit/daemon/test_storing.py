"""Which errors at the opening of the store end the daemon, and which it waits out."""

import asyncio
from pathlib import Path

import pytest

from daemon import storing as module
from daemon.config.settings import Settings
from daemon.errors import StartError
from daemon.events import EventBus
from daemon.plugins.host import Plugins
from daemon.runtime.metrics import Metrics
from daemon.storing import Storing
from store import StoreError, StoreUnavailableError
from store.errors import FacenStorageError, NewerSchemaError, PackError, QueryTimeoutError, UploadError
from store.spool.spool import Spool
from tests.faces import default_models


class Opening(Storing):
    """Each attempt to open the store ends with the next error; then the store opens."""

    errors: list[StoreError]

    async def _serve(self) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.opened.set()


@pytest.fixture
def opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opening:
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.001)
    settings = Settings(data_dir=tmp_path)
    metrics = Metrics(version="1", pack="opencv-zoo", runtime="onnxruntime")
    spool = Spool(tmp_path / "spool", 1_000_000, metrics)
    return Opening(settings, default_models(), spool, metrics, EventBus(), Plugins(settings.plugins))


@pytest.mark.parametrize(
    "error",
    [
        StoreUnavailableError("MongoDB is away"),
        QueryTimeoutError("users.find_one took too long"),
        UploadError("the uploads folder cannot be read"),
        FacenStorageError("a shard does not answer", "shard 1"),
        StoreError("an error of a kind that comes later"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_expected_trouble_at_the_opening_is_waited_out(opening: Opening, error: StoreError) -> None:
    """A slow MongoDB or an uploads server that is away ends no daemon; the trouble shows meanwhile."""
    opening.errors = [error, error]
    opening.start()
    await asyncio.wait_for(opening.opened.wait(), 5)
    assert opening.trouble == str(error)


@pytest.mark.parametrize("error", [PackError("another pack"), NewerSchemaError("a later version")])
async def test_what_no_retry_mends_ends_the_start(opening: Opening, error: StoreError) -> None:
    """The message is the store's own."""
    opening.errors = [error]
    with pytest.raises(StartError, match=f"store: {error}"):
        await asyncio.wait_for(opening._run(), 5)
