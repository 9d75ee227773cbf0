"""Accuracy: how often the integers answer as the float network, beside onnxruntime's static int8."""
