"""Doors: one thin module a framework, which reads a request, calls the core and writes the answer.

Each needs its framework and is imported by its own name, such as ``aisecure.adapters.fastapi``.
"""
