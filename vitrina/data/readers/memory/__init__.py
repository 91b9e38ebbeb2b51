"""Catalogues in memory: DataFrames, Arrow tables and streams, dictionaries.

`detect.py` recognises an object. `MemoryRecords` reads a table (`tables.py`: Arrow, pandas) in
batches, `DictRecords` a sequence of dictionaries; both yield the same raw values as the Parquet
reader, so that everything after them is the same.
"""

from vitrina.data.readers.memory.detect import ReadableRecords, memory_records
from vitrina.data.readers.memory.records import DictRecords, InMemory, MemoryRecords

__all__ = ["DictRecords", "InMemory", "MemoryRecords", "ReadableRecords", "memory_records"]
