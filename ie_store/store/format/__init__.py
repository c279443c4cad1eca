"""What a dataset looks like on disk: arrays, codec, shard index, metadata documents. Pure values."""
