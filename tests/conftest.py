"""What holds for every test: no hub, no deadline that a busy machine would break."""

import gc
import logging
import os

import pytest
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["IE_STORE_CACHE"] = ""  # nothing is kept in the home folder of whoever runs tests

os.fsync = lambda descriptor: None  # only a power cut tells the two apart, and waiting for the disk was a third of the time

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


@pytest.fixture(scope="session")
def server():
    """A client of an S3 server in this process, with the bucket ``hidden-states``; the environment tells where it is.

    One for the whole session: s3fs keeps its connections, also to a server that is gone.
    """
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        environment.setenv("AWS_ACCESS_KEY_ID", "testing")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
        client = boto3.client("s3")
        client.create_bucket(Bucket="hidden-states")
        yield client
        client.close()
    moto.stop()


@pytest.hookimpl(trylast=True)  # of those that were chosen
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those of the longest time limits first, so that no worker still runs one when the others have ended.

    Each worker begins with a stretch of the list of its own, so each stretch has its share of them.
    """
    limits = {item: marker.args[0] for item in items if (marker := item.get_closest_marker("timeout"))}
    longest = sorted(limits, key=lambda item: -limits[item])
    others, workers = [item for item in items if item not in limits], int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    order: list[pytest.Item] = []
    for worker in range(workers):
        mine = longest[worker::workers]
        num_others = max(0, (len(items) - len(order)) // (workers - worker) - len(mine))
        order += mine + others[:num_others]
        del others[:num_others]
    items[:] = order + others


def pytest_collection_finish() -> None:
    """Leave what the imports made, which lives to the end, out of every later collection of garbage."""
    gc.collect()
    gc.freeze()
