"""One HTML file that shows what was estimated: sentences, pictures with their tables, provenance. It opens without network."""
