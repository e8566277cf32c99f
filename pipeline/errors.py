"""Errors of the pipeline. Each message names the operation, the input and the remedy."""


class PipelineError(Exception):
    """Base class of the pipeline's errors."""


class ModelError(PipelineError):
    """A model file or pack is missing, has a wrong digest, or cannot be loaded."""


class PictureError(PipelineError, ValueError):
    """The input is not a usable picture."""


class PicturesBusyError(PipelineError):
    """Too many large pictures are being decoded; the caller may retry later."""


class RegionError(PipelineError, ValueError):
    """A region is neither a rectangle nor a polygon in fractions of the picture."""
