"""FiftyOne sessions: the only room that imports it, through `library.py` and no other way."""
