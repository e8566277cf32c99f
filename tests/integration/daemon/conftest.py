from tests.mongo import ctx, mongo_url, store_settings, uploads, user
from tests.spools import spool

__all__ = ["ctx", "mongo_url", "spool", "store_settings", "uploads", "user"]
