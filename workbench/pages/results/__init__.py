"""Results: what do the runs of a suite add up to, beside the paper?"""
