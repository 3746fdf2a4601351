"""Readers of input files: ZigZag's YAML, fastmap's own YAML, ONNX."""
