"""A thousand tasks in a row leave memory, threads and files where they were."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

from labnode import context
from labnode.clock import Clock
from tests.kit.rig import Ends, TasksRig, as_user
from tests.kit.waiting import PATIENCE


def files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def threads() -> list[str]:
    return sorted(t.name.rstrip("0123456789") for t in threading.enumerate())


def test_a_thousand_tasks_in_a_row_leave_no_traces(rig: TasksRig) -> None:
    ends = Ends(rig)
    rig.tasks.open_session("ada")
    chore = rig.task(lambda number: number)
    heat = rig.task(lambda number: {"number": number}, unique="global")

    @rig.task
    def parent(number: int) -> Any:
        context.current_task.get().data["number"] = number
        return chore.delay(number).join().result

    def run(number: int) -> None:
        with as_user("ada"):
            for n in range(0, number, 4):
                task = chore.delay(n)
                assert heat.delay(n).join().result == {"number": n}
                assert parent.delay(n).join().result == n
                assert task.join().result == n
        ends.wait_for(number)
        rig.rests()
        gc.collect()

    run(280)  # caches fill up, 256 finished tasks are kept
    before = threads(), files()
    ran, growth = 280, [1000]
    while growth[-1] >= 1000 and ran < 5000:  # what others in this process allocate comes once
        blocks = sys.getallocatedblocks()
        run(1000)
        ran += 1000
        growth.append(sys.getallocatedblocks() - blocks)
    assert (threads(), files()) == before
    assert growth[-1] < 1000, growth
    registry = rig.tasks._registry
    assert (len(registry._runs), len(registry._finished)) == (0, 256)
    assert not registry._watchers
    assert rig.worker._background._places == 0
    statuses = [row["status"] for row in rig.store.select("tasks", "1")]
    assert statuses == ["done"] * ran
    assert rig.waiting() == []


def test_a_finished_task_keeps_its_user_out_of_memory(rig: TasksRig) -> None:
    class Camera:
        pass

    camera = Camera()
    gone = weakref.ref(camera)
    user = type("User", (), {"session_id": None, "is_anonymous": False, "camera": camera})()

    with context.acting(user=user):
        task = rig.task(lambda: None).delay().join()
    del user, camera
    rig.rests()
    gc.collect()
    assert gone() is None
    assert task.retrieve().done


def test_events_that_nobody_reads_do_not_pile_up(rig: TasksRig) -> None:
    from labnode.events import TaskChanged

    unread = rig.bus.subscribe(TaskChanged, limit=10)

    @rig.task
    def work() -> None:
        for number in range(100):
            context.current_task.get().data["percent"] = number

    work.delay().join()
    assert len(unread.drain()) == 10
    assert unread.dropped >= 92


def test_threads_that_come_and_go_leave_no_files_open(tmp_path: Path) -> None:
    rig = TasksRig(tmp_path, Clock())
    rig.start()
    try:
        work = rig.task(lambda: None)

        def visit() -> None:
            visits = [rig.go(work.delay) for _ in range(10)]
            for visit in visits:
                visit.result().join(PATIENCE)

        visit()
        before = files()
        for _ in range(5):
            visit()
        assert files() == before
    finally:
        rig.close()
