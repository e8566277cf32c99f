from tests.commands import facend, restored_logging
from tests.mongo import ctx, mongo_url, store_settings

__all__ = ["ctx", "facend", "mongo_url", "restored_logging", "store_settings"]
