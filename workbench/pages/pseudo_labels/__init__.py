"""Pseudo-labels: what does a threshold keep?"""
