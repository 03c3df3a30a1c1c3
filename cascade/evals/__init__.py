"""Evals: cases, recorded runs, replay, tuning, and the statistics that prove a threshold.

Recording runs needs nothing more; what reads them (`runs` and all that is made of it) needs numpy
and scipy, which the extra `evals` brings.
"""
