"""Other programs' formats, in and out: detectron2's model zoo and data sets, the hub's folders."""
