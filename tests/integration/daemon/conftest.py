from tests.mongo import ctx, mongo_url, store_settings

__all__ = ["ctx", "mongo_url", "store_settings"]
