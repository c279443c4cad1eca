"""The store on disk: layout, shards, ledger, results, catalog and readers. Never imports torch."""
