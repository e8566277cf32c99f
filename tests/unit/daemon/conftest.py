from tests.commands import facend, restored_logging

__all__ = ["facend", "restored_logging"]
