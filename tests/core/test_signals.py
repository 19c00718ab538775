import os
import signal
import threading

import pytest

from ssl_photoz import cli
from ssl_photoz.core.signals import StoppedError, stopping_at_once, stopping_when_asked


def send(signum):
    os.kill(os.getpid(), signum)


@pytest.fixture(autouse=True)
def handlers_are_given_back():
    watched = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    before = [signal.getsignal(one) for one in watched]
    yield
    assert [signal.getsignal(one) for one in watched] == before


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 75)])
def test_a_scheduler_ends_any_verb_at_once(signum, status, monkeypatch, capsys):
    monkeypatch.setattr(cli, "run", lambda *_: send(signum))
    assert cli.main(["report"]) == status
    said = capsys.readouterr().err
    assert said == f"stopped by {signum.name}; run the same command to go on\n"


@pytest.mark.parametrize(
    ("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 75), (signal.SIGINT, 130)]
)
def test_whoever_asks_is_only_told(signum, status):
    with stopping_at_once(), stopping_when_asked() as request:
        assert request.signum == 0
        send(signum)
        assert request.signum == signum
    error = StoppedError(signum, "all is well")
    assert error.exit_status == status
    assert str(error).startswith(f"stopped by {signum.name}, all is well; ")


def test_interrupting_twice_does_not_wait():
    with stopping_when_asked():
        send(signal.SIGINT)
        with pytest.raises(StoppedError):
            send(signal.SIGINT)


def test_a_forked_worker_just_dies_of_it():
    with stopping_at_once():
        child = os.fork()
        if not child:
            try:
                send(signal.SIGTERM)
                signal.pause()
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGTERM


def test_a_thread_leaves_the_signals_alone():
    seen = []

    def work():
        with stopping_at_once(), stopping_when_asked() as request:
            seen.append(request.signum)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [0]
