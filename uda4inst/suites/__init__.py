"""The paper's tables as suites of runs: what they are, how they run, what they report."""
