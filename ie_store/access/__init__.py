"""What opened datasets can do for people: rows as text, samples, batches for PyTorch. Registered as the accessor ``ds.ie``."""
