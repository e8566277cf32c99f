"""Tags stack frames with the camera they run for, so that the traceback of a crash names it."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

Params = ParamSpec("Params")
Result = TypeVar("Result")


def with_crash_tag(tag: str, function: Callable[Params, Result]) -> Callable[Params, Result]:
    """`function`, called from a stack frame whose name is `tag`: up to 500 ASCII characters.

    faulthandler, which writes while the process crashes, knows neither thread names nor arguments, but it
    writes the name of each frame's code object.
    """

    def call(*args: Params.args, **kwargs: Params.kwargs) -> Result:
        return function(*args, **kwargs)

    call.__code__ = call.__code__.replace(co_name=tag, co_qualname=tag)
    return call
