"""Why the daemon does not start. Each error carries the exit status that systemd sees."""

from pipeline.base.control_characters import visible


class StartError(Exception):
    """Something outside is not as it must be; a later try may succeed. Exit status 1."""

    exit_status = 1

    @property
    def lines(self) -> list[str]:
        """The error as shown; control characters, such as those of a file's name, are escaped."""
        return [visible(str(self), one_line=True)]


class SettingsError(StartError):
    """A person has to change something first; systemd must not try again. Exit status 2.

    `problems` has one line for each fault: file, key, value, what was expected.
    """

    exit_status = 2

    def __init__(self, problems: list[str]) -> None:
        self.problems = [visible(problem, one_line=True) for problem in problems]
        super().__init__("\n".join(self.problems))

    @property
    def lines(self) -> list[str]:
        return self.problems
