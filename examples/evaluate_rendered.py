"""Evaluate a method on rendered clips, leaving one subject out at a time, and write a page about it.

Rendered subjects share one face: the figures show that things work, they are no evidence of accuracy on real faces.
"""

import microexpr

data = microexpr.load("synthetic", subjects=3, clips_per_subject=3)
(run,) = microexpr.evaluate("flow-linear", data, runs="runs")
print(f"{(run.predicted == run.truth).sum()} of {len(run.truth)} clips right")
print(microexpr.report([run.folder], "report.html"))
