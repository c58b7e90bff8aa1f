"""OpenVINO: CPUs at their best.

Its packages report each import to Google, unasked, from a fork of the program that can hang it.
They do without where the package for that is missing, which it is from here on.
"""

import sys

NO_MODULE: None = None  # importing it raises ImportError
sys.modules.setdefault('openvino_telemetry', NO_MODULE)  # type: ignore[arg-type]
