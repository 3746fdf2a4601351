"""Jitted code only: macro model, cost model, enumeration, search drivers. Imports nothing of fastmap."""

if __name__ == "kernels":
    raise ImportError("import fastmap.kernels, not the source folder kernels")
