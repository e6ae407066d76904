"""Runs of one network per category group: several ordinary runs in one folder, judged together."""
