"""The wire of findface-facenapi, versions 0 and 1, over the same context as everything else.

docs/facenapi.md lists the calls, and where this implementation differs from the original.
"""
