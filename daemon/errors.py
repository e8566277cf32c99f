"""Errors that keep the daemon or a command from starting, with their exit statuses."""

from pipeline.base.control_characters import visible


class StartError(Exception):
    """The environment prevents the start; a later attempt may succeed. Exit status 1."""

    exit_status = 1

    @property
    def lines(self) -> list[str]:
        """The error as shown; control characters, such as those of a file's name, are escaped."""
        return [visible(str(self), one_line=True)]


class SettingsError(StartError):
    """The settings must be changed first; systemd does not restart the service. Exit status 2.

    `problems` has one line per error: file, key, value, what was expected.
    """

    exit_status = 2

    def __init__(self, problems: list[str]) -> None:
        self.problems = [visible(problem, one_line=True) for problem in problems]
        super().__init__("\n".join(self.problems))

    @property
    def lines(self) -> list[str]:
        return self.problems
