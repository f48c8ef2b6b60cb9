import asyncio
import threading

import pytest

from export.file_thread import FileThread


async def test_it_returns_what_the_work_returns_and_raises_what_it_raises():
    thread = FileThread("t")
    assert await thread.run(lambda: 7, within_secs=5) == 7
    with pytest.raises(KeyError):
        await thread.run(lambda: {}["a"], within_secs=5)
    assert await thread.run(lambda: 8, within_secs=5) == 8
    thread.close()


async def test_work_is_done_in_order_and_off_the_loop():
    thread, seen = FileThread("t"), []

    def work(number):
        seen.append((number, threading.current_thread() is not threading.main_thread()))

    await asyncio.gather(*(thread.run(lambda n=number: work(n), within_secs=5) for number in range(20)))
    assert seen == [(number, True) for number in range(20)]
    thread.close()


async def test_work_that_has_not_begun_in_time_never_does():
    thread, free, seen = FileThread("t"), threading.Event(), []
    with pytest.raises(TimeoutError):
        await thread.run(lambda: free.wait(10), within_secs=0.01)
    with pytest.raises(TimeoutError):
        await thread.run(lambda: seen.append("late"), within_secs=0.01)
    free.set()
    await thread.run(lambda: seen.append("next"), within_secs=5)
    assert seen == ["next"]
    thread.close()


async def test_a_thread_that_hangs_does_not_keep_the_process():
    thread, free = FileThread("hung"), threading.Event()
    with pytest.raises(TimeoutError):
        await thread.run(lambda: free.wait(10), within_secs=0.01)
    assert all(t.daemon for t in threading.enumerate() if t.name == "hung")
    free.set()
    thread.close()


async def test_after_close_no_work_is_taken():
    thread = FileThread("t")
    thread.close()
    with pytest.raises(RuntimeError, match="t is closed"):
        await thread.run(lambda: 1, within_secs=1)
