"""A crew that loses, lies and hangs by chance; its workers are this process."""


class Future:
    """An errand that ended in some way."""

    def __init__(self, status, value=None):
        self.status, self._value = status, value

    def done(self):
        return self.status != "pending"

    def exception(self, timeout):
        return self._value

    def result(self, timeout):
        if self._value == "gone":
            raise TimeoutError
        return self._value


class UnreliableCrew:
    """Workers as far as the loop sees them; what becomes of each errand is drawn."""

    is_local = True

    def __init__(self, chance):
        self._chance, self.restarts, self._born = chance, 0, 0
        self._alive = {"a": 1, "b": 1}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def threads(self):
        if self._chance.random() < 0.2:
            self._alive.pop(self._chance.choice(sorted(self._alive)), None) if self._alive else None
        if len(self._alive) < 2 and self._chance.random() < 0.3:
            self._born += 1
            self._alive[f"w{self._born}"] = 1
        return dict(self._alive)

    def send(self, errand, worker, name):
        fate = self._chance.choice(["done", "done", "lies", "gone", "hangs", "cancelled", "lost", "killed"])
        if fate in ("done", "hangs"):
            errand.run()
        if fate == "hangs":  # until the worker is found dead
            self._alive.pop(worker, None)
            return Future("pending")
        if fate == "killed":
            from distributed import KilledWorker

            return Future("error", KilledWorker(name, None, 3))
        return Future("finished", "gone") if fate == "gone" else Future("finished" if fate in ("done", "lies") else fate)

    def wait(self, seconds):
        pass

    def forget(self, future):
        pass

    def restart(self):
        self.restarts += 1
        self._alive = {"a": 1, "b": 1}
