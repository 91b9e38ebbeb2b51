"""Headers of Parquet files, read before Arrow allocates what they claim."""
