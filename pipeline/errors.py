"""What can go wrong in the pipeline. Every message says what was tried, with what, and what to do."""


class PipelineError(Exception):
    """The parent of the errors of this room."""


class ModelError(PipelineError):
    """A model file or pack that is missing, does not have its digest, or cannot be loaded."""


class PictureError(PipelineError, ValueError):
    """Something that was given as a picture and is none that can be used."""


class PicturesBusyError(PipelineError):
    """Too many large pictures are being decoded at present. Trying again later may help."""


class RegionError(PipelineError, ValueError):
    """A region that is neither a rectangle nor a polygon in fractions of the picture."""
