"""Shell commands on their own: output, exit codes, timeouts, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from dataflow import shell
from dataflow.exceptions import DefinitionError, DefinitionTypeError, ShellError, ShellTimeoutError
from tests.run_support import wait_until

# starts a child in the background, tells both pids, ignores TERM where told to
FAMILY = """
{trap}
sh -c '{trap}
while :; do sleep 0.05; done' &
echo $! $$ > {book}.part && mv {book}.part {book}
wait
while :; do sleep 0.05; done
"""


def family(book: Path, *, stubborn: bool = False) -> str:
    """Return a command that runs for ever with a child, and writes both pids down."""
    return FAMILY.format(book=book, trap='trap "" TERM' if stubborn else "")


def pids_in(book: Path) -> list[int]:
    wait_until(book.exists, "the command runs")
    return [int(pid) for pid in book.read_text().split()]


def gone(pids: list[int]) -> bool:
    """Tell whether none of them runs any more."""
    for pid in pids:
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                return False
        except psutil.NoSuchProcess:
            continue
    return True


# output


def test_run_returns_both_streams_line_by_line_with_the_exit_code() -> None:
    done = shell.run("echo one; echo two >&2; printf 'three\\rfour\\r\\nf\\303\\251\\377'")
    assert (done.stdout, done.stderr) == (["one", "three", "four", "fé\ufffd"], ["two"])
    assert (done.exit_code, done.stdout_count, done.stderr_count) == (0, 4, 1)
    assert done.text == "one\nthree\nfour\nfé\ufffd" and done.pid > 0 and done.elapsed_s > 0


def test_arguments_in_a_list_are_not_seen_by_a_shell() -> None:
    assert shell.run(["echo", "$HOME; *"]).stdout == ["$HOME; *"]


def test_any_language_runs_by_its_own_interpreter() -> None:
    assert shell.run("print(6 * 7)", shell="python3 -u").stdout == ["42"]
    assert shell.run(["awk", "{ n += $1 } END { print n }"], input="20\n22\n").stdout == ["42"]
    assert shell.ShellOperation(
        commands=["import sys", "print(sys.argv[0][-3:])"], shell="python3", extension=".py",
    ).run() == [".py"]


def test_environment_is_added_to_and_folder_is_set(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INHERITED", "yes")
    done = shell.run('echo "$INHERITED $MORE"; pwd', env={"MORE": "too"}, cwd=tmp_path)
    assert done.stdout == ["yes too", str(tmp_path.resolve())]


def test_input_is_written_while_output_is_read() -> None:
    data = b"x" * 70 + b"\n"
    done = shell.run(["cat"], input=data * 20_000, stream_output=False)
    assert (done.stdout_count, len(done.stdout), done.stdout[-1]) == (20_000, 1000, "x" * 70)


def test_command_that_does_not_read_its_input_ends_all_the_same() -> None:
    assert shell.run("true", input="x" * 1_000_000).exit_code == 0


def test_last_lines_are_kept_and_all_counted_or_all_kept() -> None:
    command = "i=0; while [ $i -lt 50 ]; do echo $i; i=$((i+1)); done"
    few = shell.run(command, keep_lines=3)
    assert (few.stdout, few.stdout_count) == (["47", "48", "49"], 50)
    assert len(shell.run(command, keep_lines=None).stdout) == 50


def test_lines_are_logged_as_they_come(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with caplog.at_level(logging.INFO, logger="dataflow.shell"), shell.ShellOperation(
            commands=[f"echo first; while [ ! -e {gate} ]; do sleep 0.02; done; echo last >&2"],
            log_prefix="[{pid} {label}] ") as operation:
        process = operation.trigger()
        wait_until(lambda: process.fetch_result() == ["first"], "the first line comes")
        assert process.return_code is None
        assert f"[{process.pid} stream output] first" in caplog.messages
        gate.touch()
        process.wait_for_completion()
    assert caplog.messages[-1] == f"[{process.pid} stderr] last"
    assert caplog.records[-1].levelno == logging.WARNING
    assert process.return_code == 0


def test_handler_that_raises_ends_the_command(tmp_path: Path) -> None:
    class Full(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise OSError("disk full")

    logger, handler, book = logging.getLogger("dataflow.shell"), Full(), tmp_path / "book"
    logger.addHandler(handler)
    try:
        with pytest.raises(OSError, match="disk full"):
            shell.run(f"echo $$ > {book}; echo x >&2; sleep 100")
    finally:
        logger.removeHandler(handler)
    assert gone(pids_in(book))


# how it can end


def test_exit_code_raises_with_command_code_and_last_lines() -> None:
    with pytest.raises(ShellError) as caught:
        shell.run("echo fine; echo 'no such table' >&2; exit 3")
    error = caught.value
    assert isinstance(error, RuntimeError)
    assert (error.exit_code, error.lines) == (3, ["no such table"])
    assert error.command == "echo fine; echo 'no such table' >&2; exit 3"
    assert "ended with exit code 3" in str(error) and str(error).endswith("no such table")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.exit_code) == (ShellError, str(error), 3)


def test_exit_code_is_returned_where_it_is_not_to_be_checked() -> None:
    assert shell.run("exit 3", check=False).exit_code == 3
    assert shell.run("kill -9 $$", check=False).exit_code == -9


def test_death_by_signal_is_named() -> None:
    with pytest.raises(ShellError, match=r"was killed by signal 9 \(SIGKILL\)"):
        shell.run("kill -9 $$")


@pytest.mark.parametrize("stubborn", [False, True])
def test_timeout_kills_the_command_with_all_it_started(tmp_path: Path, stubborn: bool) -> None:
    book = tmp_path / "book"
    with pytest.raises(ShellTimeoutError) as caught:
        shell.run(family(book, stubborn=stubborn), timeout=0.5, grace_seconds=0.3)
    assert isinstance(caught.value, TimeoutError) and isinstance(caught.value, ShellError)
    assert caught.value.timeout_seconds == 0.5
    assert gone(pids_in(book))


def test_child_that_cleans_up_after_its_shell_is_gone_is_given_the_grace(tmp_path: Path) -> None:
    book, done = tmp_path / "book", tmp_path / "done"
    command = (f"sh -c 'trap \"sleep 0.2; touch {done}; exit\" TERM; touch {book}; "
               "while :; do sleep 0.05; done' > /dev/null 2>&1 & exec sleep 100")
    operation = shell.ShellOperation(commands=[command])
    with operation:
        operation.trigger()
        wait_until(book.exists, "the child runs")
    assert done.exists()


def test_what_runs_in_the_background_and_holds_the_output_is_waited_for() -> None:
    assert shell.run("(sleep 0.2; echo late) & echo early").stdout == ["early", "late"]


def test_program_that_is_not_there_says_so() -> None:
    with pytest.raises(ShellError, match="'no-such-program'") as caught:
        shell.run(["no-such-program", "-x"])
    assert caught.value.exit_code is None and isinstance(caught.value.__cause__, FileNotFoundError)


def test_folder_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ShellError, match="gone"):
        shell.run("true", cwd=tmp_path / "gone")


@pytest.mark.parametrize(("call", "error", "said"), [
    (lambda: shell.run(""), DefinitionError, "empty"),
    (lambda: shell.run(["ls"], shell="bash"), DefinitionError, "not as a list"),
    (lambda: shell.run("ls", env={"N": 3}), DefinitionTypeError, "'N' is 3"),
    (lambda: shell.run("ls", timeout="1"), DefinitionTypeError, "timeout"),
    (lambda: shell.run("ls", timeout=-1), DefinitionError, "negative"),
    (lambda: shell.run("ls", keep_lines=-1), DefinitionError, "keep_lines"),
    (lambda: shell.ShellOperation(commands="ls"), DefinitionTypeError, "list of texts"),
    (lambda: shell.ShellOperation(commands=["ls"], log_prefix="{x}"), DefinitionError, "pid"),
])
def test_wrong_use_is_refused_before_anything_runs(
        call: Callable[[], Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        call()


# operations


def test_operation_runs_its_commands_in_one_shell_and_returns_stdout(tmp_path: Path) -> None:
    operation = shell.ShellOperation(
        commands=["cd sub", "pwd", "echo aside >&2", "false", "echo $X"],
        working_dir=tmp_path, env={"X": "1"})
    (tmp_path / "sub").mkdir()
    assert operation.run() == [str((tmp_path / "sub").resolve()), "1"]
    assert shell.ShellOperation(commands=["false", "true"]).run() == []


def test_operation_raises_by_the_exit_code_and_its_process_keeps_it() -> None:
    process = shell.ShellOperation(commands=["echo x", "exit 4"]).trigger()
    with pytest.raises(RuntimeError, match="exit code 4"):
        process.wait_for_completion()
    assert (process.return_code, process.fetch_result()) == (4, ["x"])


def test_leaving_the_block_kills_what_was_triggered(tmp_path: Path) -> None:
    book = tmp_path / "book"
    with shell.ShellOperation(commands=[family(book)]) as operation:
        process = operation.trigger()
        pids = pids_in(book)
        assert process.pid in pids and not gone(pids)
    assert gone(pids) and process.return_code == -15


def test_operation_leaves_no_script_behind(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    shell.ShellOperation(commands=["true"]).run()
    with pytest.raises(ShellError):
        shell.ShellOperation(commands=["true"], shell="no-such-shell").run()
    assert list(tmp_path.iterdir()) == []


# async


def test_async_twins_do_not_block_the_loop() -> None:
    async def both() -> list[list[str]]:
        command = "sleep 0.3; echo {}"
        return [done.stdout for done in await asyncio.gather(
            *(shell.arun(command.format(n)) for n in range(10)))]

    began = time.perf_counter()
    assert asyncio.run(both()) == [[str(n)] for n in range(10)]
    assert time.perf_counter() - began < 2.5


def test_operations_are_awaited_in_a_loop_under_either_name() -> None:
    async def body() -> list[Any]:
        operation = shell.ShellOperation(commands=["echo a"])
        async with operation:
            process = await operation.atrigger()
            await process.await_for_completion()
            other: Any = operation.trigger()
            process_too = await other
            await process_too.wait_for_completion()
            return [await operation.arun(), await operation.run(),  # type: ignore[misc]
                    await process.afetch_result(),
                    await process_too.fetch_result()]

    assert asyncio.run(body()) == [["a"]] * 4


def test_cancelled_coroutine_kills_its_command_first(tmp_path: Path) -> None:
    book = tmp_path / "book"

    async def body() -> None:
        await asyncio.wait_for(shell.arun(family(book)), timeout=0.5)

    with pytest.raises(TimeoutError):
        asyncio.run(body())
    assert gone(pids_in(book))


def test_async_timeout_kills_the_command(tmp_path: Path) -> None:
    book = tmp_path / "book"
    with pytest.raises(ShellTimeoutError):
        asyncio.run(shell.arun(family(book), timeout=0.5))
    assert gone(pids_in(book))


# many


def test_many_commands_at_once_leave_no_thread_and_no_descriptor() -> None:
    shell.run("true")  # whose guard stays
    threads_before = {t for t in threading.enumerate() if t.name == "dataflow-shell"}
    before = psutil.Process().num_fds()
    threads = [threading.Thread(target=shell.run, args=(f"echo {n}",)) for n in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    wait_until(lambda: {t for t in threading.enumerate()
                        if t.name == "dataflow-shell"} <= threads_before, "their threads end")
    assert psutil.Process().num_fds() == before


def test_forked_child_does_not_touch_the_commands_of_its_parent(tmp_path: Path) -> None:
    book = tmp_path / "book"
    with shell.ShellOperation(commands=[family(book)]) as operation:
        operation.trigger()
        pids = pids_in(book)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = shell.run("exit 7", check=False).exit_code
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        time.sleep(0.3)  # what the child's end could have done, it would have done
        assert not gone(pids)
    assert gone(pids)
