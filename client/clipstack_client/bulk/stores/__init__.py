"""Places of results: a folder, or a folder of a bucket (S3, Google Cloud Storage, Azure)."""

from pathlib import Path

from .buckets import BucketStore, is_bucket
from .folders import FolderStore
from .interface import Store


def open_store(address: str) -> Store:
    """Return the store at a path or an address such as s3://bucket/folder."""
    return BucketStore(address) if is_bucket(address) else FolderStore(Path(address).absolute())
