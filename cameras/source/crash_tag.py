"""Code whose frames in a traceback say for whom they run, also in the one of a process that crashes."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")


def with_crash_tag(name: str, function: Callable[Given, Result]) -> Callable[Given, Result]:
    """`function`, called from a frame of this name. Up to 500 characters of ASCII.

    faulthandler, which writes while the process crashes, knows nothing of threads' names or arguments, but it
    writes what each frame's code is called.
    """

    def call(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        return function(*args, **kwargs)

    call.__code__ = call.__code__.replace(co_name=name, co_qualname=name)
    return call
