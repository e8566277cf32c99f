from tests.milvus import milvus, milvus_owner, milvus_settings
from tests.mongo import ctx, mongo_url, store_settings

__all__ = ["ctx", "milvus", "milvus_owner", "milvus_settings", "mongo_url", "store_settings"]
