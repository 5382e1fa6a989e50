"""The web page of `ctxmem serve`: several visitors walk through worlds of their own, painted in common batches.

A visitor has a WebSocket and a `Visit`, which is an environment of one world. In every round those who want to move
step side by side, and `sharing` makes one call of the generator of the calls that their worlds make. Needs the extra
`serve`; nothing of it is imported before the command runs.
"""
