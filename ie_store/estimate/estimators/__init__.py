"""One file per method of estimation; the table that lists them is `ie_store.estimators`."""
