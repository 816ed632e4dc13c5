"""Lower precisions of a checked graph: FP16, INT8, what arrives quantised, and 2:4 sparsity.

Everything here makes candidates and says what was done; which of them may serve is decided by the caller, through
the task's own metric.
"""
