"""The parts of the local web page; `microexpr.app.serve` opens it.

Sessions, work and pictures know nothing of Gradio; `microexpr.page.layout` and `microexpr.page.server` join them to it.
"""
