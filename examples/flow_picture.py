"""The flow of a rendered smile as a color picture, and how close it comes to the true flow."""

import numpy as np

import microexpr
from microexpr.motion.color import flow_to_color
from microexpr.motion.files import write_picture
from microexpr.motion.flow import flow_between, magnitude

clip = microexpr.load("synthetic", subjects=1, clips_per_subject=1).clips[0]
flow = flow_between(clip.frames.read(clip.onset), clip.frames.read(clip.apex))
true = clip.frames.true_flow(clip.onset, clip.apex)
moving = magnitude(true) > magnitude(true).max() / 4
print(f"mean end-point error where the face moves: {np.hypot(*(flow - true))[moving].mean():.2f} px")
write_picture("flow.png", flow_to_color(flow))
