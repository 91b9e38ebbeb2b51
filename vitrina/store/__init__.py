"""The store: on-disk layout, manifest, planner, shards."""
