"""Other programs' formats, in and out, all checked: detectron2's, the hub's, archives of runs."""
