from tests.milvus import milvus, milvus_owner, milvus_settings

__all__ = ["milvus", "milvus_owner", "milvus_settings"]
