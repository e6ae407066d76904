"""A GPU that is not there: tensors that say "cuda" while a CPU holds and computes their values.

What this proves: that no operation mixes devices, that values cross between host and device only
where a test allows it, that a copy which has not arrived is not read, and that the code written
for a device gives what the code for the CPU gives. What it cannot prove: speed, and what CUDA's
own kernels make of the numbers.

It leans on private parts of torch and needs a C++ compiler; `library.missing()` says what is not
there. Load it in a process of its own (the tests do, by their marker): once loaded, torch believes
in the device until the process ends.
"""
