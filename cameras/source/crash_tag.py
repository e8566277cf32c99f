"""Names stack frames after their camera, so that the traceback of a crash identifies the camera."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

Params = ParamSpec("Params")
Result = TypeVar("Result")


def with_crash_tag(tag: str, function: Callable[Params, Result]) -> Callable[Params, Result]:
    """Wrap `function` so that it is called from a stack frame named `tag`: up to 500 ASCII characters.

    faulthandler, which writes the traceback of a crash, knows neither thread names nor arguments, but writes
    the name of each frame's code object.
    """

    def call(*args: Params.args, **kwargs: Params.kwargs) -> Result:
        return function(*args, **kwargs)

    call.__code__ = call.__code__.replace(co_name=tag, co_qualname=tag)
    return call
