"""IFBench's kinds of constraints: 58 of its test, 29 of its training set (Pyatkin et al. 2025, arXiv 2507.02833).

Written anew from the published instructions and rules (allenai/IFBench and open-instruct's IFEvalG, both Apache-2.0).
"""
