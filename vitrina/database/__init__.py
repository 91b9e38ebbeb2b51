"""Databases: reading of queries and writing of tables, as streams of Arrow record batches.

`url.py` parses the location of a database; `open.py` opens it as a `Database`: PostgreSQL by ADBC
(`postgresql.py`), SQLite by Python's own module (`sqlite.py`).
"""
