"""The one owner of the run folder's format: what lies in it, who writes it, who reads it.

Each file of the folder has one module here, the reader beside the writer; trainer, suites and
workbench ask these and open nothing themselves. It knows nothing of the training loop.
"""
