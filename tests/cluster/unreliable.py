"""A crew that loses, lies and hangs by chance; its workers are this process."""

from threading import Event, Thread


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


class SetAside:
    """An errand that stepped aside, if it does; it goes on at the second look, or is lost before."""

    status = "finished"

    def __init__(self, errand, on_aside):
        self._on_aside, self._halted, self._goes_on = on_aside, Event(), Event()
        self._looks, self._lost, self._met = 0, False, None
        self._thread = Thread(target=self._run, args=(errand,))
        self._thread.start()
        self._halted.wait()

    def _run(self, errand):
        try:
            self._met = errand.run(self._step_aside)
        except InterruptedError:
            pass
        finally:
            self._halted.set()

    def _step_aside(self):
        self._on_aside()
        self._halted.set()
        self._goes_on.wait()
        if self._lost:
            raise InterruptedError

    def _end(self):
        self._goes_on.set()
        self._thread.join()

    def done(self):
        self._looks += 1
        if self._looks > 1:
            self._end()
        return not self._thread.is_alive()

    def result(self, timeout):
        return self._met

    def lose(self):
        self._lost = True
        self._end()


class UnreliableCrew:
    """Workers as far as the loop sees them; what becomes of each errand is drawn."""

    is_local = True

    def __init__(self, chance):
        self._chance, self.restarts, self._born = chance, 0, 0
        self._alive, self._aside = {"a": 1, "b": 1}, set()

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
        fates = ["done", "aside", "aside", "aside", "lies", "gone", "hangs", "cancelled", "lost", "killed"]
        fate = self._chance.choice(fates)
        if fate == "aside":
            return SetAside(errand, lambda: self._aside.add(name))
        if fate in ("done", "hangs"):
            errand.run(lambda: None)
        if fate == "hangs":  # until the worker is found dead
            self._alive.pop(worker, None)
            return Future("pending")
        if fate == "killed":
            from distributed import KilledWorker

            return Future("error", KilledWorker(name, None, 3))
        return Future("finished", "gone") if fate == "gone" else Future("finished" if fate in ("done", "lies") else fate)

    def is_aside(self, name):
        return name in self._aside

    def wait(self, seconds):
        pass

    def forget(self, future):
        if isinstance(future, SetAside):
            future.lose()

    def restart(self):
        self.restarts += 1
        self._alive = {"a": 1, "b": 1}
