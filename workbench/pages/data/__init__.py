"""Data: what lies on disk, and what does training make of it?"""
