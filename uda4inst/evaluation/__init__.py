"""Evaluation: Cityscapes instance AP, COCO mask AP, semantic scores and error maps."""
