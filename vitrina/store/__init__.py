"""The store on disk: layout, manifest, shards, planning, verification and compaction."""
