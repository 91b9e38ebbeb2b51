"""Tables for people and for other programs: CSV, Excel, JSON Lines, Parquet, database tables.

`destination.py` says where a table goes and in which format, before any work is done; `write.py`
streams it there. Formats without lists and records get flat columns (`flat.py`).
"""
