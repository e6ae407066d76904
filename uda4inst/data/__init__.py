"""Labelled and unlabelled images on disk, from a root folder to the batches of a step.

What a tree is lies here (`tree.py`, `records.py`), beside the configuration that names one;
`readers` has a file for each data set, `files` what they are read with, `stream` what training
sees of them, `reports` what is said about them. It knows the vocabulary, `ops` and `formats`.
"""
