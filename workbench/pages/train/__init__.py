"""Train: how do the runs go, and how is a new one started?"""
