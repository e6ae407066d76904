"""Mixing: what did a step train on?"""
