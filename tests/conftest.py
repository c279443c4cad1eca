"""What holds for every test: no hub, no deadline that a busy machine would break."""

import os

from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")
