"""Stage two: slabs from the store (or any arrays) to mutual information with ceilings, intervals and outcomes."""
