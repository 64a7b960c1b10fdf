"""Chromium without a window: a page as it is drawn, asked over pipes.

Source: the Chrome DevTools Protocol, https://chromedevtools.github.io/devtools-protocol/
"""

import contextlib
import fcntl
import json
import os
import shutil

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe")


class Tab:
    """The only page of a browser."""

    def __init__(self, commands, answers):
        self._commands, self._answers = commands, answers
        self._count, self._session = 0, {}
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        self.ask("Page.enable")

    def ask(self, method, **params):
        """The answer to a command."""
        self._count += 1
        told = {"id": self._count, "method": method, "params": params, **self._session}
        self._commands.write(json.dumps(told).encode() + b"\0")
        self._commands.flush()
        answer = self._next(lambda message: message.get("id") == self._count)
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self, is_wanted):
        while True:
            text = bytearray()
            while (letter := self._answers.read(1)) != b"\0":
                assert letter, "the browser has ended"
                text += letter
            message = json.loads(text)
            if is_wanted(message):
                return message

    def open(self, address):
        self.ask("Page.navigate", url=address)
        self._next(lambda message: message.get("method") == "Page.loadEventFired")

    def resize(self, width):
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)

    def evaluate(self, script):
        """The value of a JavaScript expression, or of its promise."""
        made = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in made, made
        return made["result"]["value"]


def _pipe():
    """Both ends of a pipe, of other numbers than those that the browser gives its own."""
    ends = os.pipe()
    try:
        return [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    finally:
        for end in ends:
            os.close(end)


@contextlib.contextmanager
def new_tab(folder):
    """A tab of a browser of its own, which has its files in a new folder; it has ended at the end."""
    (commands, command_end), (answer_end, answers) = _pipe(), _pipe()
    actions = [(os.POSIX_SPAWN_DUP2, commands, 3), (os.POSIX_SPAWN_DUP2, answers, 4)]
    actions += [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
    with open(command_end, "wb") as to_browser, open(answer_end, "rb") as from_browser:
        try:
            command = [PROGRAM, *FLAGS, f"--user-data-dir={folder}"]
            pid = os.posix_spawn(PROGRAM, command, {**os.environ, "HOME": str(folder)}, file_actions=actions)
        finally:
            os.close(commands)
            os.close(answers)
        try:
            yield Tab(to_browser, from_browser)
        finally:
            to_browser.close()  # it ends with its commands
            from_browser.read()
            os.waitpid(pid, 0)
