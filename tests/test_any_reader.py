"""Whatever reads Parquet reads a store, each tool in one line, right to the value."""

from glob import glob

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from test_store import IMAGE, put_products, put_space, row, units

import vitrina as vt
from vitrina.errors import StoreError
from vitrina.store.space import ERRORS_SCHEMA, error_row
from vitrina.store.store import Store

SPACE = {
    "pandas": 'pd.concat(map(pd.read_parquet, glob("shelf/spaces/text-lexical/part-*.parquet")))',
}
