"""UDA4Inst: synthetic-to-real domain adaptation of instance segmentation, and its workbench."""

__version__ = "0.2.0"
