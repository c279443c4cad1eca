"""Places that keep bytes: a local folder or an object store, behind one protocol."""
