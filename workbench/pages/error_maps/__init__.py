"""Error maps: which pixels are right and wrong, class by class?"""
