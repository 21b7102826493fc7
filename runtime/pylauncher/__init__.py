"""The launcher of a bundle that a Python starts (``--format pyz`` and ``ape``): what runtime/launcher/ does elsewhere.

It runs out of the ZIP behind the archive, in any CPython from 3.10 on, with the standard library alone and without
ctypes, which a Cosmopolitan Python has not. The bundle's bytes that it reads are checked as those of any other.
"""
