"""Go over recorded steps again as if the forget set had not been there.

`deciding` says how. Either the steps are taken anew (`replaying`), or the difference is carried
along the path that the original took (`propagating`). What is certain about where that leads is in
`settling`, and `hiding` covers it with noise.
"""
