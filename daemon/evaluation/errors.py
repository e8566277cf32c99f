"""What can be wrong with what an evaluation is given."""

from daemon.errors import StartError


class InputError(StartError):
    """A file or folder that is not as the evaluation needs it; the message names it. Exit status 2."""

    exit_status = 2
