"""One activation dataset: created, written shard by shard, read slab by slab, removed."""
