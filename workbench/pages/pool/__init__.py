"""Pool: which rare instances are kept, and how much do they hide?"""
