"""Go over recorded steps again as if the forget set had not been there.

Either the steps are taken anew (`replaying`), or the difference is carried along the path that
the original took (`propagating`); what is certain about where that leads is in `settling`.
"""
