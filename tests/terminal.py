"""A terminal for tests: a window of tmux, what it shows, and keys that are pressed in it."""

from __future__ import annotations

import itertools
import os
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_numbers = itertools.count()


class Terminal:
    """One program in one window, on a server of tmux of its own."""

    def __init__(self, name: str, folder: Path, *, columns: int = 100, lines: int = 40) -> None:
        """``name`` tells servers of tmux apart; what the program left is written below ``folder``."""
        self._tmux = ["tmux", "-L", f"solofile-{name}-{os.getpid()}-{next(_numbers)}", "-f", "/dev/null"]
        self._size = ["-x", str(columns), "-y", str(lines)]
        self._left = folder / "left"
        self.errors = folder / "errors"

    def start(self, command: Sequence[str | Path], environment: Mapping[str, str]) -> None:
        """Run ``command`` in a new window; its standard error goes to the file ``errors``."""
        words = shlex.join(map(str, command))
        program = f"{words} 2>{shlex.quote(str(self.errors))}; echo $? > {self._left}.part; "
        program += f"stty -a > {self._left}.stty; mv {self._left}.part {self._left}; sleep 60"
        # The window's program gets tmux's environment but for what is given here; TERM is tmux's own.
        given = [part for name, value in environment.items() if name != "TERM" for part in ("-e", f"{name}={value}")]
        if "TERM" in environment:
            program = f"TERM={environment['TERM']}; export TERM; {program}"
        subprocess.run([*self._tmux, "new-session", "-d", *self._size, *given, program], check=True)

    def screen(self, *, colors: bool = False) -> str:
        """What is and was to be seen, with escape sequences if ``colors``."""
        options = ["-e"] if colors else []
        command = [*self._tmux, "capture-pane", "-p", "-J", "-S", "-500", *options]
        return subprocess.run(command, capture_output=True, text=True).stdout.rstrip()

    def sees(self, text: str, limit: float = 10.0, times: int = 1) -> bool:
        """Whether ``text`` is there so often within ``limit`` seconds."""
        end = time.monotonic() + limit
        while self.screen().count(text) < times:
            if time.monotonic() > end:
                return False
            time.sleep(0.03)
        return True

    def type(self, text: str, *keys: str) -> None:
        """Type ``text``, then press ``keys`` by their names in tmux."""
        if text:
            subprocess.run([*self._tmux, "send-keys", "-l", text], check=True)
        if keys:
            subprocess.run([*self._tmux, "send-keys", *keys], check=True)

    def paste(self, text: str) -> None:
        """Paste as a terminal does, in brackets."""
        subprocess.run([*self._tmux, "set-buffer", text], check=True)
        subprocess.run([*self._tmux, "paste-buffer", "-p"], check=True)

    def pid(self) -> int:
        """The process of the window's shell."""
        done = subprocess.run([*self._tmux, "list-panes", "-F", "#{pane_pid}"], capture_output=True, text=True)
        return int(done.stdout)

    def left(self, limit: float = 10.0) -> int | None:
        """The program's exit code, None where it has not ended within ``limit`` seconds."""
        end = time.monotonic() + limit
        while not self._left.exists():
            if time.monotonic() > end:
                return None
            time.sleep(0.03)
        return int(self._left.read_text())

    def echoes(self) -> bool:
        """Whether the program left the terminal as it was: what is typed is shown."""
        return " echo " in self._left.with_suffix(".stty").read_text()

    def close(self) -> None:
        """End all of it."""
        subprocess.run([*self._tmux, "kill-server"], check=False, capture_output=True)
