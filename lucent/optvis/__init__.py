"""Optimisation-based visualization.

A picture is found by four independent parts: what to look for (`objectives`), how an image is
described (`param`), what it must survive (`transform`), and who looks (the model). They meet in
`render`.
"""
