"""The cameras in the open store: their documents, and the leases that assign each camera to one box."""

import contextlib
from collections.abc import Callable

from daemon.storing import Storing
from store import StoreError
from store.collections.cameras import Cameras
from store.mongo.change_stream import watch
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.mongo.term_leases import TermLeases


class StoredCameras:
    """Implements `daemon.live_configuration.CameraAndLeaseStore`."""

    def __init__(self, storing: Storing) -> None:
        self._storing = storing
        self.opened = storing.opened
        """Set when the store has been opened once."""

    @property
    def camera_leases(self) -> TermLeases | None:
        """The leases of the owner's cameras; None while the store is not open."""
        session = self._storing.session
        return None if session is None else session.camera_leases

    async def release(self) -> None:
        """Release the leases on this box's cameras, so that another box can read them at once."""
        if (leases := self.camera_leases) is not None:
            with contextlib.suppress(StoreError):  # the leases expire by themselves
                await leases.release()

    async def camera_documents(self, box: str) -> list[Cameras.Model]:
        """The collection's cameras that this box reads, malformed ones included.

        Raises:
            StoreError: the store is not available.
        """
        session = self._storing.require_session()
        here = [{"detector": {"$in": [box, "", None]}}, {"detector": {"$not": {"$type": "string"}}}]
        query = {"owner": session.owner["_id"], "$or": here}
        try:
            found = await session.ctx.database[Cameras.name].ungated.find(query).to_list(None)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "cameras.find") from error
        return [Cameras.Model(document) for document in found]

    async def watch_cameras(self, notify: Callable[[], None]) -> None:
        """Call `notify` at each change of the collection until cancelled or the store is closed."""
        if (session := self._storing.session) is not None:
            await watch(session.ctx.database[Cameras.name], notify)
