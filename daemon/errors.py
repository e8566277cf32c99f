"""Why the daemon does not start. Each error carries the exit status that systemd sees."""


class StartError(Exception):
    """Something outside is not as it must be; a later try may succeed. Exit status 1."""

    exit_status = 1

    @property
    def lines(self) -> list[str]:
        """The error as a person reads it; a file's name in it may hold line ends and more."""
        return [printable(str(self))]


class SettingsError(StartError):
    """A person has to change something first; systemd must not try again. Exit status 2.

    `problems` has one line for each fault: file, key, value, what was expected.
    """

    exit_status = 2

    def __init__(self, problems: list[str]) -> None:
        self.problems = [printable(problem) for problem in problems]
        super().__init__("\n".join(self.problems))

    @property
    def lines(self) -> list[str]:
        return self.problems


def printable(text: str) -> str:
    """One line, whatever was typed into a file: line ends, control and invisible characters as escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
