from tests.commands import facend, restored_logging
from tests.mongo import ctx, mongo_url, store_settings, uploads, user
from tests.spools import spool

__all__ = ["ctx", "facend", "mongo_url", "restored_logging", "spool", "store_settings", "uploads", "user"]
