"""Where jobs read inputs and publish outputs: a directory."""

from workerpool_worker.storage.base import Source, Storage, Target
from workerpool_worker.storage.directory import DirectoryStorage

__all__ = ["DirectoryStorage", "Source", "Storage", "Target"]
