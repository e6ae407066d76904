"""File formats that others read and write: COCO, RLE, Cityscapes submissions, predictions.

One reader and one writer each; it uses the vocabulary and `ops` alone.
"""
