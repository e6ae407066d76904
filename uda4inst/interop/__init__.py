"""Formats of other people's tools: COCO, Cityscapes submissions, and our predictions file."""
