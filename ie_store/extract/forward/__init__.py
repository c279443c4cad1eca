"""From token rows to hidden states: prefixes shared, batches fixed by the layout, states laid out for shards."""
