"""A fuzzer over readers, decoders, stores, models and the review page: `make fuzz`."""
